"""What static quantization looks at to choose its ranges: a few training samples, in strides."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from packager.data import Samples
from runner.manifest import Preprocess
from runner.progress import Progress

STRIDE = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Training samples, prepared as the network will see them."""

    samples: Samples
    preprocess: Preprocess
    progress: Progress

    def batches(self, title: str, size: int = STRIDE) -> Iterator[NDArray[np.float32]]:
        """Yield the samples in batches of `size`, as float32 N x C x H x W, and show how far it is."""
        with self.progress.task(title, len(self.samples)) as advance:
            for first in range(0, len(self.samples), size):
                chosen = np.arange(first, min(first + size, len(self.samples)))
                yield self.preprocess.apply(self.samples.take(chosen))
                advance(len(chosen))
