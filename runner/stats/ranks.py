"""Ratios of positive values by ranks, with exact intervals: of two independent samples, and of pairs."""

import functools
import math
from collections.abc import Sequence
from itertools import combinations_with_replacement

from runner.interval import Interval
from runner.stats.quantiles import innermost_rank, median


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
    x, y = [math.log(value) for value in host], [math.log(value) for value in device]
    shifts = [b - a for a in x for b in y]
    counts = mann_whitney_counts(len(host), len(device))
    return _ratio(shifts, counts, confidence, "Hodges-Lehmann, exact Mann-Whitney")


def paired_ratio(
    host: Sequence[float], device: Sequence[float], confidence: float = 0.99
) -> tuple[float, Interval | None]:
    """Return by what factor `device` is longer than `host`, measured in pairs, and its exact interval.

    Of the logarithms of the pairs' ratios: the median of all Walsh averages, and the interval by inversion of the
    signed-rank test (Wilcoxon 1945; Tukey 1949; Hollander, Wolfe and Chicken, "Nonparametric Statistical Methods",
    2014, section 3.3). The interval is None where so few pairs cannot reach `confidence`: 99 % needs 8.
    Raises ValueError without pairs, where the two are not of one length, or with a value that is not positive.
    """
    if not host or len(host) != len(device) or min(*host, *device) <= 0:
        raise ValueError("a paired ratio needs as many positive values on one side as on the other")
    ratios = [math.log(b) - math.log(a) for a, b in zip(host, device, strict=True)]
    averages = [(a + b) / 2 for a, b in combinations_with_replacement(ratios, 2)]
    return _ratio(averages, signed_rank_counts(len(ratios)), confidence, "Hodges-Lehmann, exact signed-rank")


def _ratio(
    logs: Sequence[float], counts: Sequence[int], confidence: float, method: str
) -> tuple[float, Interval | None]:
    """Return the median of log ratios as a ratio, with the interval that a symmetric null distribution gives it."""
    ordered = sorted(logs)
    estimate = math.exp(median(ordered))
    rank, coverage = innermost_rank(counts[: (len(counts) + 1) // 2], sum(counts), confidence)
    if coverage < confidence:
        return estimate, None
    low, high = math.exp(ordered[rank - 1]), math.exp(ordered[-rank])
    return estimate, Interval(low=low, high=high, confidence=coverage, method=method)


@functools.cache
def mann_whitney_counts(m: int, n: int) -> tuple[int, ...]:
    """Return in how many orders of m + n distinct values the Mann-Whitney statistic is 0, 1, … m * n.

    N(u; m, n) = N(u - n; m - 1, n) + N(u; m, n - 1): Mann and Whitney 1947, taken here row by row.
    """
    rows = [[1] for _ in range(n + 1)]
    for _ in range(m):
        row = [[1]]
        for j in range(1, n + 1):
            row.append(_sum_of(shifted=rows[j], by=j, other=row[j - 1]))
        rows = row
    return tuple(rows[n])


@functools.cache
def signed_rank_counts(n: int) -> tuple[int, ...]:
    """Return in how many of the 2**n patterns of signs the signed-rank statistic is 0, 1, … n * (n + 1) / 2.

    Rank k is in the sum or not: Wilcoxon 1945, taken here rank by rank.
    """
    counts = [1]
    for rank in range(1, n + 1):
        counts = _sum_of(shifted=counts, by=rank, other=counts)
    return tuple(counts)


def _sum_of(*, shifted: list[int], by: int, other: list[int]) -> list[int]:
    total = other + [0] * (len(shifted) + by - len(other))
    for index, count in enumerate(shifted):
        total[by + index] += count
    return total
