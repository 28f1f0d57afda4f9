"""Where an array lies in a file, for others to map it there."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayLocation:
    """Where the values of an array lie in a file: a bundle's entries are stored as they are, and mapped in place."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def open(self) -> NDArray[np.generic]:
        """Map the array into memory, read-only."""
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape)

    def row(self, index: int) -> NDArray[np.generic]:
        """Read one row, as an array of one: of what is mapped Linux may lay out 2 MB around it."""
        size = math.prod(self.shape[1:])
        start = self.offset + index * size * np.dtype(self.dtype).itemsize
        found: NDArray[np.generic] = np.fromfile(self.path, self.dtype, count=size, offset=start)
        return found.reshape(1, *self.shape[1:])
