"""Decode images and bring them to one size. All resizing of edgepack is done here."""

import dataclasses
import struct
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from packager.data.dataset import Dataset, Samples
from packager.recipe import SMALLEST_SIDE
from runner.errors import StepError, UsageError
from runner.progress import Progress

LARGEST_COMMON_SIDE = 256
DEFAULT_SIDE = 224
UNTOUCHED = "none: stored as they are"

Size = tuple[int, int]
"""Height and width."""

_grayscale = {"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"}
# What Pillow raises on damaged files, by format and kind of damage.
_damage = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError)


def choose_size(sizes: Collection[Size], side: int | None) -> Size:
    """Return what was asked for, else the size that all these images have if it is small, else 224 x 224."""
    if side is not None:
        return side, side
    common = next(iter(sizes))
    if len(set(sizes)) > 1 or max(common) > LARGEST_COMMON_SIDE:
        return DEFAULT_SIDE, DEFAULT_SIDE
    return common


def describe(sizes: Collection[Size], size: Size) -> str:
    """Say in words how images of these sizes are brought to `size`."""
    if set(sizes) == {size}:
        return UNTOUCHED
    return f"shorter side to {min(size)} pixels, centre crop to {size[0]} x {size[1]}, bilinear with antialias (Pillow)"


def fit(image: Image.Image, size: Size) -> Image.Image:
    """Resize until `size` is just covered, and cut out the centre. As torchvision's Resize and CenterCrop round."""
    height, width = size
    if image.size == (width, height):
        return image
    if image.width * height <= image.height * width:
        covering = width, image.height * width // image.width
    else:
        covering = image.width * height // image.height, height
    left, top = round((covering[0] - width) / 2), round((covering[1] - height) / 2)
    resized = image.resize(covering, Image.Resampling.BILINEAR)
    return resized.crop((left, top, left + width, top + height))


def peek(path: Path) -> tuple[Size, bool]:
    """Read an image's size, and whether it is grayscale, from its header alone. Raises StepError."""
    try:
        with Image.open(path) as image:
            return (image.height, image.width), image.mode in _grayscale
    except _damage as error:
        raise _undecodable(path, error) from None


def decode(path: Path, size: Size, channels: int) -> NDArray[np.uint8]:
    """Decode an image file upright, as C x H x W. Raises StepError."""
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(fit(_eight_bit(upright).convert("L" if channels == 1 else "RGB"), size))
    except _damage as error:
        raise _undecodable(path, error) from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _eight_bit(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no agreed range")
    if image.mode[0] == "I":  # 16 bits; Pillow's own conversion clips at 255
        return Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image


def _undecodable(path: Path, error: Exception) -> StepError:
    return StepError(
        f"this image cannot be decoded: {error}", where=str(path), advice="repair the file or take it out of the folder"
    )


def resized(dataset: Dataset, side: int | None, progress: Progress) -> Dataset:
    """Return the data set with images of the size that was asked for. Raises UsageError."""
    parts = [part for part in (dataset.train, dataset.test) if part is not None]
    sizes = [(part.base.shape[2], part.base.shape[3]) for part in parts]
    size = choose_size(sizes, side)
    if min(size) < SMALLEST_SIDE:
        what = f"its images have {size[0]} x {size[1]} pixels, and {SMALLEST_SIDE} are the least that a network can use"
        raise UsageError(what, where=dataset.source, advice="set image_size to enlarge them")
    if describe(sizes, size) == UNTOUCHED:
        return dataset
    train = _resized(dataset.train, size, progress)
    test = None if dataset.test is None else _resized(dataset.test, size, progress)
    return dataclasses.replace(dataset, train=train, test=test, resize=describe(sizes, size))


def _resized(samples: Samples, size: Size, progress: Progress) -> Samples:
    shape = (len(samples), samples.base.shape[1], *size)
    result = np.empty(shape, samples.base.dtype)
    with progress.task("resizing images", len(samples)) as advance:
        for row, index in enumerate(samples.index):
            for channel, plane in enumerate(samples.base[index]):
                result[row, channel] = np.asarray(fit(Image.fromarray(plane), size))
            advance()
    return Samples.whole(result, samples.labels)
