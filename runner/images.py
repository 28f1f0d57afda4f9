"""Decode image files and bring them to one size, for `pack` and for `predict` alike: all resizing is done here."""

import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from runner import install
from runner.errors import RuntimeUnavailable

if TYPE_CHECKING:
    from PIL import Image

UNTOUCHED = "none: stored as they are"
EXTRA = "edgepack[images]"

Size = tuple[int, int]
"""Height and width."""


class UndecodableError(ValueError):
    """Say why an image file cannot be decoded."""


def resize_words(size: Size) -> str:
    """Say what `fit` does."""
    return f"shorter side to {min(size)} pixels, centre crop to {size[0]} x {size[1]}, bilinear with antialias (Pillow)"


def hold_pillow() -> None:
    """Raise RuntimeUnavailable where there is no Pillow, with the command that installs it."""
    try:
        import PIL  # noqa: F401, PLC0415 - to see whether it is there
    except ImportError:
        advice = install.command((EXTRA,), install.here())
        raise RuntimeUnavailable("reading images needs Pillow, which is not installed here", advice=advice) from None


def damage() -> tuple[type[Exception], ...]:
    """Return what Pillow raises on damaged files, by format and kind of damage."""
    from PIL import Image  # noqa: PLC0415 - an extra, and `bench-runner` measures without it

    return OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError


def decode(path: Path, size: Size, channels: int) -> NDArray[np.uint8]:
    """Decode an image file upright, as C x H x W. Raises UndecodableError."""
    from PIL import Image, ImageOps  # noqa: PLC0415 - as above

    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(fit(_eight_bit(upright).convert("L" if channels == 1 else "RGB"), size))
    except damage() as error:
        raise UndecodableError((isinstance(error, OSError) and error.strerror) or str(error)) from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def fit(image: "Image.Image", size: Size) -> "Image.Image":
    """Resize until `size` is just covered, and cut out the centre. As torchvision's Resize and CenterCrop round."""
    from PIL import Image  # noqa: PLC0415 - as above

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


def _eight_bit(image: "Image.Image") -> "Image.Image":
    from PIL import Image  # noqa: PLC0415 - as above

    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no agreed range")
    if image.mode[0] == "I":  # 16 bits; Pillow's own conversion clips at 255
        return Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA")
    return image
