"""Two sets of answers to the same samples: whether they differ, by how much, and how many samples it takes to tell."""

import math
from collections.abc import Sequence
from itertools import count
from statistics import NormalDist

from runner.interval import Interval


def mcnemar(only_first: int, only_second: int) -> float:
    """Return the exact two-sided p-value of as many samples right in the first alone as in the second alone.

    McNemar 1947; exact, by the binomial distribution of the discordant samples: Agresti, "Categorical Data Analysis"
    (2013), section 11.1. Raises ValueError where a count is negative.
    """
    if min(only_first, only_second) < 0:
        raise ValueError(f"no test of {only_first} and {only_second} samples")
    discordant, fewer = only_first + only_second, min(only_first, only_second)
    ways = total = 1
    for index in range(fewer):
        ways = ways * (discordant - index) // (index + 1)
        total += ways
    # Where both are equal, the two tails overlap.
    return min(1.0, 2 * total / (1 << discordant))


def fewest_discordant(alpha: float = 0.01) -> int:
    """Return the fewest discordant samples with which McNemar's test can reach p < `alpha`, all on one side."""
    return next(discordant for discordant in count(1) if mcnemar(0, discordant) < alpha)


def paired_difference(first: Sequence[bool], second: Sequence[bool], confidence: float = 0.95) -> Interval:
    """Return the interval of the share that is true in `first` less the share in `second`, of the same samples.

    Raises ValueError without samples, or where the two are not of one length.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"no difference of {len(first)} and {len(second)} samples")
    only_first = sum(a and not b for a, b in zip(first, second, strict=True))
    only_second = sum(b and not a for a, b in zip(first, second, strict=True))
    return bonett_price(only_first, only_second, len(first), confidence)


def bonett_price(only_first: int, only_second: int, samples: int, confidence: float = 0.95) -> Interval:
    """Return the interval of a difference of two shares, of which only the samples in one alone are told.

    The adjusted Wald interval of Bonett and Price, "Adjusted Wald Confidence Interval for a Difference of Binomial
    Proportions Based on Paired Data", Journal of Educational and Behavioral Statistics 37 (2012).
    """
    first, second = (only_first + 1) / (samples + 2), (only_second + 1) / (samples + 2)
    difference = first - second
    deviation = math.sqrt((first + second - difference**2) / (samples + 2))
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * deviation
    low, high = max(-1.0, difference - reach), min(1.0, difference + reach)
    return Interval(low=low, high=high, confidence=confidence, method="Bonett-Price")


def samples_needed(margin: float, flips: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """Return about how many samples show that nothing is lost but `margin`, where nothing is, at a share of `flips`.

    (z(1 - alpha) + z(power))**2 * flips / margin**2, of the one-sided Wald test of the paired difference: Lu and Bean,
    "On the sample size for one-sided equivalence of sensitivities based upon McNemar's test", Statistics in Medicine
    14 (1995); Liu et al., "Tests for equivalence or non-inferiority for paired binary data", ibid. 21 (2002).
    `flips` is the share of discordant samples. Raises ValueError where the margin is not positive.
    """
    if margin <= 0:
        raise ValueError(f"no number of samples shows a margin of {margin}")
    normal = NormalDist()
    reach = normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)
    return math.ceil(reach**2 * flips / margin**2)
