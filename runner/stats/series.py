"""Samples in the order of time: whether they drift, and how many independent ones they are worth."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist

import numpy as np

from runner.stats.quantiles import median

BLOCKS = 20
"""Into so many a process is cut: enough for the normal approximation of the trend test."""
DRIFT_P_VALUE = 0.01
LEAST_DRIFT = 0.02
"""A sure trend that changes less than this is of no interest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trend:
    """What the Mann-Kendall test says of a series."""

    score: int
    """Pairs that rise less pairs that fall."""
    variance: float
    """Of the score, where there is no trend."""
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """How one process's samples change from its beginning to its end."""

    p_value: float
    """Of the Mann-Kendall test over the medians of 20 blocks."""
    change: float
    """Median of the last third / median of the first, less 1."""

    @property
    def steady(self) -> bool:
        """Say whether no trend is both sure and large enough to matter."""
        return self.p_value >= DRIFT_P_VALUE or abs(self.change) <= LEAST_DRIFT


def mann_kendall(values: Sequence[float]) -> Trend:
    """Test a series for a trend, two-sided, by the normal approximation, corrected for ties and for continuity.

    Mann, "Nonparametric Tests Against Trend", Econometrica 13 (1945); Kendall, "Rank Correlation Methods" (1975),
    chapter 4; in this form in Gilbert, "Statistical Methods for Environmental Pollution Monitoring" (1987), section
    16.4. Good for 10 values or more.
    """
    n = len(values)
    score = sum((b > a) - (b < a) for index, a in enumerate(values) for b in values[index + 1 :])
    ties = sum(t * (t - 1) * (2 * t + 5) for t in Counter(values).values())
    variance = (n * (n - 1) * (2 * n + 5) - ties) / 18
    # Where all values tie the variance is 0, and the score as well.
    z = max(0, abs(score) - 1) / math.sqrt(variance) if variance else 0.0
    return Trend(score=score, variance=variance, p_value=min(1.0, 2 * NormalDist().cdf(-z)))


def block_medians(samples: Sequence[float], blocks: int = BLOCKS) -> list[float]:
    """Return the medians of so many consecutive blocks, their lengths as equal as may be.

    Raises ValueError with fewer samples than blocks.
    """
    n = len(samples)
    if not 0 < blocks <= n:
        raise ValueError(f"no {blocks} blocks of {n} samples")
    edges = [n * block // blocks for block in range(blocks + 1)]
    return [median(samples[start:end]) for start, end in pairwise(edges)]


def drift(samples: Sequence[float]) -> Drift | None:
    """Return how one process's samples drift, or None with fewer than there are blocks."""
    if len(samples) < BLOCKS:
        return None
    third = len(samples) // 3
    change = median(samples[-third:]) / median(samples[:third]) - 1
    return Drift(p_value=mann_kendall(block_medians(samples)).p_value, change=change)


def steady(samples: Sequence[float]) -> bool | None:
    """Say whether one process's positive samples stay where they are, or None with too few to tell."""
    found = drift(samples)
    return found.steady if found else None


def autocorrelation(samples: Sequence[float]) -> float | None:
    """Return the lag-1 autocorrelation, or None where there is none to be had: all samples are equal, or fewer than 3.

    Box, Jenkins and Reinsel, "Time Series Analysis" (2008), section 2.1.5.
    """
    deviations = np.asarray(samples, np.float64)
    if len(deviations) < 3 or deviations.min() == deviations.max():
        return None
    deviations = deviations - deviations.mean()
    return float(deviations[:-1] @ deviations[1:] / (deviations @ deviations))


def effective_samples(samples: Sequence[float]) -> float | None:
    """Return how many independent samples tell as much of the mean, or None where there is no autocorrelation.

    n (1 - r) / (1 + r) of an AR(1) series: Bayley and Hammersley, "The 'Effective' Number of Independent Observations
    in an Autocorrelated Time Series", Journal of the Royal Statistical Society, Supplement 8 (1946). Between 1 and n.
    """
    r = autocorrelation(samples)
    if r is None:
        return None
    n = len(samples)
    return min(float(n), max(1.0, n * (1 - r) / (1 + r)))
