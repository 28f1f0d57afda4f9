"""Estimators and their intervals: pure functions of a few numbers, with their sources. None assumes normality."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate
from statistics import NormalDist

from runner.interval import Interval

P95_LEAST_SAMPLES = 59
"""The least n with 0.95**n < 0.05: below it, not even the largest sample is a 95 % bound of the 95th percentile."""


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


def p95(samples: Sequence[float]) -> float | None:
    """Return the 95th percentile of one process's samples, or None with fewer than can support it."""
    return quantile(samples, 0.95) if len(samples) >= P95_LEAST_SAMPLES else None


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
    rank, coverage = _innermost_rank((math.comb(n, k) for k in range((n + 1) // 2)), 2**n, confidence)
    low, high = float(ordered[rank - 1]), float(ordered[n - rank])
    return Interval(low=low, high=high, confidence=coverage, method="order statistics of the median")


def _innermost_rank(counts: Iterable[int], total: int, confidence: float) -> tuple[int, float]:
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


def paired_difference(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> Interval:
    """Return the interval of the share that is true in `first` less the share in `second`, of the same samples.

    The adjusted Wald interval of Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial
    Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 37 (2012).
    Raises ValueError without samples, or where the two are not of one length.
    """
    n = len(first)
    if not n or len(second) != n:
        raise ValueError(f"no difference of {n} and {len(second)} samples")
    only_first = (sum(a and not b for a, b in zip(first, second, strict=True)) + 1) / (n + 2)
    only_second = (sum(b and not a for a, b in zip(first, second, strict=True)) + 1) / (n + 2)
    difference = only_first - only_second
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * math.sqrt((only_first + only_second - difference**2) / (n + 2))
    low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    return Interval(low=low, high=high, confidence=confidence, method="Bonett-Price")


def hodges_lehmann_ratio(
    host: Sequence[float], device: Sequence[float], confidence: float = 0.99
) -> tuple[float, Interval | None]:
    """Return by what factor `device` is longer than `host`, and its exact interval.

    The shift of the logarithms: the median of all pairwise differences, and the interval by inversion of the
    Mann-Whitney test (Hodges and Lehmann 1963; Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods",
    2014, section 4.3). The interval is None where so few values cannot reach `confidence`: 99 % needs 5 and 5.
    Raises ValueError without values on both sides, or with a value that is not positive.
    """
    if not host or not device or min(*host, *device) <= 0:
        raise ValueError("a ratio needs positive values on both sides")
    shifts = sorted(math.log(y) - math.log(x) for x in host for y in device)
    estimate = math.exp(median(shifts))
    counts = mann_whitney_counts(len(host), len(device))
    rank, coverage = _innermost_rank(counts[: (len(counts) + 1) // 2], sum(counts), confidence)
    if coverage < confidence:
        return estimate, None
    low, high = math.exp(shifts[rank - 1]), math.exp(shifts[-rank])
    return estimate, Interval(low=low, high=high, confidence=coverage, method="Hodges-Lehmann, exact Mann-Whitney")


def mann_whitney_counts(m: int, n: int) -> list[int]:
    """Return in how many orders of m + n distinct values the Mann-Whitney statistic is 0, 1, … m * n.

    N(u; m, n) = N(u - n; m - 1, n) + N(u; m, n - 1): Mann and Whitney 1947, taken here row by row.
    """
    rows = [[1] for _ in range(n + 1)]
    for i in range(1, m + 1):
        row = [[1]]
        for j in range(1, n + 1):
            row.append(_sum_of(shifted=rows[j], by=j, other=row[j - 1], length=i * j + 1))
        rows = row
    return rows[n]


def _sum_of(*, shifted: list[int], by: int, other: list[int], length: int) -> list[int]:
    total = other + [0] * (length - len(other))
    for index, count in enumerate(shifted):
        total[by + index] += count
    return total
