"""Quantiles, given only where there are values enough, and the interval of the median."""

import functools
import math
from collections.abc import Iterable, Sequence
from itertools import accumulate

from runner.interval import Interval


def median(values: Sequence[float]) -> float:
    """Return the middle value, or the mean of the two middle ones. Raises ValueError without values."""
    return quantile(values, 0.5)


def quantile(values: Sequence[float], q: float) -> float:
    """Return the `q` quantile, linear between neighbours. Raises ValueError without values.

    Type 7 of Hyndman and Fan, "Sample Quantiles in Statistical Packages", The American Statistician 50 (1996).
    """
    if not values or not 0 <= q <= 1:
        raise ValueError(f"no quantile {q} of {len(values)} values")
    ordered = sorted(values)
    position = q * (len(ordered) - 1)
    lower = math.floor(position)
    upper = math.ceil(position)
    return ordered[lower] + (ordered[upper] - ordered[lower]) * (position - lower)


def percentile(samples: Sequence[float], q: float, confidence: float = 0.95) -> float | None:
    """Return the `q` quantile, or None with fewer samples than can bound it from above."""
    return quantile(samples, q) if len(samples) >= least_samples(q, confidence) else None


@functools.cache
def least_samples(q: float, confidence: float = 0.95) -> int:
    """Return the least n whose largest sample bounds the `q` quantile: q**n <= 1 - confidence.

    Below it no one-sided distribution-free bound exists: Hahn and Meeker, "Statistical Intervals" (1991), section 5.2.
    Raises ValueError where `q` or `confidence` is not between 0 and 1.
    """
    if not (0 < q < 1 and 0 < confidence < 1):
        raise ValueError(f"no bound of the quantile {q} at a confidence of {confidence}")
    # The logarithm may be off by one where q**n is the error itself.
    n = max(1, math.floor(math.log(1 - confidence) / math.log(q)))
    return n if q**n <= 1 - confidence else n + 1


def median_interval(values: Sequence[float], confidence: float = 0.99) -> Interval:
    """Return the distribution-free interval of the median: two order statistics, as close to the middle as may be.

    With too few values for `confidence` it runs from the least to the largest, with the coverage that this really has.
    Conover, "Practical Nonparametric Statistics" (1999), section 3.2: coverage is exact for continuous distributions
    and a lower bound where values tie. Raises ValueError without values.
    """
    if not values:
        raise ValueError("no interval of 0 values")
    ordered = sorted(values)
    n = len(ordered)
    rank, coverage = innermost_rank((math.comb(n, k) for k in range((n + 1) // 2)), 2**n, confidence)
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    return Interval(low=low, high=high, confidence=coverage, method="order statistics of the median")


def innermost_rank(counts: Iterable[int], total: int, confidence: float) -> tuple[int, float]:
    """Return the largest rank whose symmetric interval covers at least `confidence`, but at least 1, and its coverage.

    `counts` are those of a symmetric discrete distribution from its lower end on, of `total` outcomes.
    """
    best = (1, 0.0)
    for rank, below in enumerate(accumulate(counts), start=1):
        coverage = (total - 2 * below) / total
        if rank > 1 and coverage < confidence:
            break
        best = (rank, coverage)
    return best
