"""Choose one size for a data set's images, and bring them to it as the runner does."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from packager.data.dataset import Dataset, Samples
from packager.recipe import SMALLEST_SIDE
from runner import images
from runner.errors import StepError, UsageError
from runner.images import UNTOUCHED, Size
from runner.progress import Progress

LARGEST_COMMON_SIDE = 256
DEFAULT_SIDE = 224

_grayscale = {"1", "L", "LA", "La", "F", "I", "I;16", "I;16L", "I;16B", "I;16N"}


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
    return images.resize_words(size)


def peek(path: Path) -> tuple[Size, bool]:
    """Read an image's size, and whether it is grayscale, from its header alone. Raises StepError."""
    try:
        with Image.open(path) as image:
            return (image.height, image.width), image.mode in _grayscale
    except images.damage() as error:
        raise _undecodable(path, error) from None


def decode(path: Path, size: Size, channels: int) -> NDArray[np.uint8]:
    """Decode an image file upright, as C x H x W, just as `bench-runner predict` does. Raises StepError."""
    try:
        return images.decode(path, size, channels)
    except images.UndecodableError as error:
        raise _undecodable(path, error) from None


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
                result[row, channel] = np.asarray(images.fit(Image.fromarray(plane), size))
            advance()
    return Samples.whole(result, samples.labels)
