"""What static quantization looks at to choose its ranges: a few training samples, in strides."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packager.data import Samples
from runner.manifest import Preprocess
from runner.progress import Progress

STRIDE = 32
AT_ONCE_BYTES = 256 * 1024**2
"""Of activations that are looked at together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Training samples, prepared as the network will see them."""

    samples: Samples
    preprocess: Preprocess
    progress: Progress

    def example(self) -> NDArray[np.float32]:
        """Return the first sample, 1 x C x H x W."""
        return self.preprocess.apply(self.samples.take(slice(0, 1)))

    def batches(self, title: str, size: int = STRIDE) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in batches of `size`, as float32 N x C x H x W, and show how far it is."""
        with self.progress.task(title, len(self.samples)) as advance:
            for first in range(0, len(self.samples), size):
                chosen = np.arange(first, min(first + size, len(self.samples)))
                yield self.preprocess.apply(self.samples.take(chosen))
                advance(len(chosen))


def stride(sample_bytes: int) -> int:
    """Return how many samples go through the network at a time, by what the activations of one take."""
    return max(1, min(STRIDE, AT_ONCE_BYTES // max(1, sample_bytes)))
