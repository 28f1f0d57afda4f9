"""Calibration that is watched while it is used."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from packager.quantize.calibration import STRIDE, Calibration


@dataclass(frozen=True, kw_only=True)
class WatchedCalibration(Calibration):
    """Remembers a copy of each batch, and how many earlier ones were still held when the next was asked for."""

    batches_seen: list[NDArray[np.float32]] = field(default_factory=list)
    held: list[int] = field(default_factory=list)

    def batches(self, title: str, size: int = STRIDE) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in batches."""
        given: list[weakref.ref[NDArray[np.float32]]] = []
        for batch in Calibration.batches(self, title, size):
            self.held.append(sum(earlier() is not None for earlier in given))
            self.batches_seen.append(batch.copy())
            given.append(weakref.ref(batch))
            yield batch
