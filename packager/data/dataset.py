"""What a source of data gives, and what the steps of a pack take: images with their labels, copied only when used."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runner.manifest import Preprocess

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Samples:
    """Some rows of an array of images. The array may be a memory-mapped file that is larger than memory."""

    base: NDArray[np.generic]
    """N x C x H x W, uint8 or float32."""
    index: Indices
    """Which rows of `base`, in order."""
    labels: NDArray[np.int64]
    """The class of each of these rows."""

    @classmethod
    def whole(cls, base: NDArray[np.generic], labels: NDArray[np.int64]) -> Self:
        """Return every row of `base`."""
        return cls(base=base, index=np.arange(len(base), dtype=np.int64), labels=labels)

    def __len__(self) -> int:
        return len(self.index)

    def take(self, indices: Indices | slice) -> NDArray[np.generic]:
        """Return these samples' images, copied into memory: n x C x H x W."""
        return np.asarray(self.base[self.index[indices]])

    def array(self) -> NDArray[np.generic]:
        """Return all images, copied into memory."""
        return self.take(slice(None))

    def subset(self, indices: Indices) -> Self:
        """Return these samples as a view of the same array."""
        return type(self)(base=self.base, index=self.index[indices], labels=self.labels[indices])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """One source's images, before they are split and prepared."""

    source: str
    """What the user calls it, for messages."""
    train: Samples
    test: Samples | None
    """None where the source has no split of its own."""
    classes: tuple[str, ...]
    resize: str
    """How the images were brought to their size, in words."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Splits:
    """Images for each purpose. No image serves two of them, but that calibration is a part of training."""

    train: Samples
    validation: Samples
    """For every choice that is made."""
    calibration: Samples
    evaluation: Samples
    """For the figures only, looked at once."""
    classes: tuple[str, ...]
    preprocess: Preprocess
    sha256: str
    """Over all samples, labels and classes, and the preprocess."""
