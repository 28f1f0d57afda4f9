"""From the values that a tensor took on the calibration samples to the range that its integers shall span.

Whatever the number of samples, a tensor costs two numbers, or a histogram of 2048 bins.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from packager import recipe
from runner.errors import StepError

BINS = 2048
AVERAGING_CONSTANT = 0.01
"""Of torch's MovingAverageMinMaxObserver."""
CANDIDATE_STEP = 8
"""Bins between two ranges that entropy compares: 0.4 % of the whole."""
SMOOTHING = 1e-4
"""What an empty bin is taken for, where a logarithm is taken of it; as MXNet has it."""
AT_ONCE = 1 << 23
"""Values counted at a time: torch counts in float32, which is exact up to twice as many."""

Counts = NDArray[np.float64]


class RangeEstimator:
    """Chooses one tensor's range, for so many levels, of which the methods mse and entropy make a difference.

    Every sample is to be seen `passes` times, with `end_pass` after each time.
    """

    def __init__(self, method: recipe.Ranges, percentile: float = 99.99, levels: int = 256) -> None:
        self.method = method
        self.percentile = percentile
        self.levels = levels
        self._low = math.inf
        self._high = -math.inf
        self._histogram: _Histogram | None = None

    @property
    def passes(self) -> int:
        """How often all samples must be seen: first for their minimum and maximum, then to be counted between."""
        return 1 if self.method in ("min-max", "moving-average") else 2

    def see(self, values: torch.Tensor) -> None:
        """Take in a batch's values, of any shape. Raises StepError where one is not a finite number."""
        if not values.numel():
            return
        values = values.detach().float()
        if self._histogram is None:
            self._see_ends(values)
        else:
            self._histogram.count(values)

    def end_pass(self) -> None:
        """Say that all samples were seen."""
        if self.passes == 2 and self._histogram is None:
            low, high = self._ends()
            self._histogram = _Histogram(low=low, high=high, counts=np.zeros(BINS))

    def range(self) -> tuple[float, float]:
        """Return the low and the high end, with zero between them or at one of them."""
        low, high = self._ends()
        if self._histogram is None or low == high:
            return low, high
        if self.method == "percentile":
            return _percentile(self._histogram, self.percentile / 100)
        if self.method == "entropy":
            return _entropy(self._histogram, self.levels)
        return _least_squares(self._histogram, self.levels)

    def _see_ends(self, values: torch.Tensor) -> None:
        low, high = (end.item() for end in torch.aminmax(values))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise StepError(
                "a layer's values are not all finite numbers on the calibration samples, and have no range",
                advice="train the network on, or leave it in fp32: --quantize none",
            )
        if self.method == "moving-average" and self._low <= self._high:
            low = self._low + AVERAGING_CONSTANT * (low - self._low)
            high = self._high + AVERAGING_CONSTANT * (high - self._high)
        elif self.method != "moving-average":
            low, high = min(low, self._low), max(high, self._high)
        self._low, self._high = low, high

    def _ends(self) -> tuple[float, float]:
        if self._low > self._high:
            raise StepError("calibration saw no values", advice="more of them: --calibration-samples")
        return min(self._low, 0.0), max(self._high, 0.0)


@dataclass(kw_only=True, slots=True)
class _Histogram:
    """Counts of values in BINS bins of equal width between `low` and `high`."""

    low: float
    high: float
    counts: Counts
    """Without what is exactly zero."""
    zeros: int = 0
    """Values that are exactly zero, of which ReLU makes many, and which every range holds without an error."""
    zero: int = field(init=False)
    """The bin that holds zero, where torch puts it."""

    def __post_init__(self) -> None:
        self.zero = int(self._counted(torch.zeros(1)).argmax()) if self.low < self.high else 0

    def count(self, values: torch.Tensor) -> None:
        """Count the values into their bins."""
        if self.low == self.high:
            return
        values = values.flatten()
        for first in range(0, len(values), AT_ONCE):
            part = values[first : first + AT_ONCE]
            zeros = int(torch.count_nonzero(part == 0))
            self.counts += self._counted(part)
            self.counts[self.zero] -= zeros
            self.zeros += zeros

    def _counted(self, values: torch.Tensor) -> Counts:
        return np.asarray(torch.histc(values, BINS, self.low, self.high).cpu(), np.float64)

    def at(self, edge: float) -> float:
        """Return the value at an edge between bins: 0 is `low`, and BINS is `high`."""
        return self.low + (self.high - self.low) * edge / BINS


def _percentile(histogram: _Histogram, share: float) -> tuple[float, float]:
    """Cut the same share of all values off at either end, as ONNX Runtime's percentile calibration does."""
    counts = histogram.counts.copy()
    counts[histogram.zero] += histogram.zeros
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    cut = (1 - share) / 2 * reached[-1]
    # Where a bin is empty, `reached` stands still: the outermost edge for the low end, the innermost for the high one.
    first = int(np.searchsorted(reached, cut, side="right")) - 1
    last = int(np.searchsorted(reached, reached[-1] - cut, side="left"))
    low = histogram.at(first + _within(cut, reached, first))
    high = histogram.at(last - 1 + _within(reached[-1] - cut, reached, last - 1))
    return min(low, 0.0), max(high, 0.0)


def _within(count: float, reached: Counts, bin_: int) -> float:
    """Return how far into a bin a count lies, 0 to 1."""
    if not 0 <= bin_ < BINS or reached[bin_] == reached[bin_ + 1]:
        return 0.0 if bin_ >= 0 else 1.0
    return float((count - reached[bin_]) / (reached[bin_ + 1] - reached[bin_]))


def _entropy(histogram: _Histogram, levels: int) -> tuple[float, float]:
    """Return the range around zero whose levels say most of how the values are distributed.

    The least Kullback-Leibler divergence, after S. Migacz, "8-bit Inference with TensorRT" (GTC 2017), with empty bins
    smoothed as in MXNet's `_get_optimal_threshold`. What is exactly zero does not count: zero has a level of its own,
    and the many zeros of a ReLU would else speak for a range that is too narrow.
    """
    counts, zero = histogram.counts, histogram.zero
    best, least = (0, BINS), math.inf
    widest = max(zero, BINS - zero)
    for reach in range(widest, 0, -CANDIDATE_STEP):
        start, stop = max(0, zero - reach), min(BINS, zero + reach)
        if stop - start < levels:
            break
        divergence = _divergence(counts, start, stop, levels)
        if divergence < least:
            best, least = (start, stop), divergence
    return min(histogram.at(best[0]), 0.0), max(histogram.at(best[1]), 0.0)


def _divergence(counts: Counts, start: int, stop: int, levels: int) -> float:
    """Return the divergence of the values, clipped to some bins, from the same in so many levels."""
    inside = counts[start:stop]
    clipped = inside.copy()
    clipped[0] += counts[:start].sum()
    clipped[-1] += counts[stop:].sum()
    filled = clipped > 0
    if not inside.any():
        return math.inf
    size = stop - start
    edges = np.arange(levels) * size // levels
    level = np.repeat(np.arange(levels), np.diff(edges, append=size))
    occupied = np.add.reduceat(filled.astype(np.float64), edges)
    mean = np.add.reduceat(inside, edges) / np.maximum(occupied, 1)
    quantized = np.where(filled, mean[level], 0.0)
    p, q = _smooth(clipped / clipped.sum()), _smooth(quantized / quantized.sum())
    return float((p * np.log(p / q)).sum())


def _smooth(distribution: Counts) -> Counts:
    smoothed = np.maximum(distribution, SMOOTHING / BINS)
    return np.asarray(smoothed / smoothed.sum())


def _least_squares(histogram: _Histogram, levels: int) -> tuple[float, float]:
    """Return the range that an affine quantization is expected to err least with, by the mean square.

    A value inside errs by step^2 / 12, being anywhere between two levels; one outside by its distance to the end. Each
    pair of edges with zero between them is tried, in units of a bin.
    """
    counts, zero = histogram.counts, histogram.zero
    below = _squared_distances(counts)
    above = _squared_distances(counts[::-1])[::-1]
    reached = np.concatenate([[0.0], np.cumsum(counts)])
    first = np.arange(zero + 1) if histogram.low < 0 else np.array([0])
    last = np.arange(zero + 1, BINS + 1) if histogram.high > 0 else np.array([BINS])
    step = (last[None, :] - first[:, None]) / (levels - 1)
    rounding = (reached[last][None, :] - reached[first][:, None]) * step**2 / 12
    error = below[first][:, None] + above[last][None, :] + rounding
    i, j = np.unravel_index(int(error.argmin()), error.shape)
    return min(histogram.at(int(first[i])), 0.0), max(histogram.at(int(last[j])), 0.0)


def _squared_distances(counts: Counts) -> Counts:
    """Return for each edge the sum over the values in all bins below of their squared distance to it."""
    centre = np.arange(BINS) + 0.5
    moments = [np.concatenate([[0.0], np.cumsum(counts * centre**power)]) for power in range(3)]
    edge = np.arange(BINS + 1)
    return np.asarray(moments[0] * (edge**2 + 1 / 12) - 2 * edge * moments[1] + moments[2])
