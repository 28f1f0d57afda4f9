"""The interval of a proportion: how often something happened of so many times."""

import math
from collections.abc import Sequence

from runner.interval import Interval

HALVINGS = 60
"""Of the unit interval: beyond that a float holds no more."""


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Return the exact interval of a proportion, by bisection on the tails of the binomial distribution.

    Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial",
    Biometrika 26 (1934). Raises ValueError without trials, or with more successes than trials.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"no proportion of {successes} in {trials}")
    tail = (1 - confidence) / 2
    high = _largest(successes, trials, tail)
    low = 1 - _largest(trials - successes, trials, tail)
    return Interval(low=low, high=high, confidence=confidence, method="Clopper-Pearson")


def _largest(successes: int, trials: int, tail: float) -> float:
    """Return the largest probability at which so few successes or fewer still have a chance of `tail`."""
    if successes == trials:
        return 1.0
    # By logarithms, for the coefficients are beyond a float.
    whole = math.lgamma(trials + 1)
    coefficients = [whole - math.lgamma(k + 1) - math.lgamma(trials - k + 1) for k in range(successes + 1)]
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _at_most(coefficients, trials, middle) > tail:
            low = middle
        else:
            high = middle
    return high


def _at_most(coefficients: Sequence[float], trials: int, probability: float) -> float:
    """Return the chance of fewer successes than there are logarithms of binomial coefficients."""
    yes, no = math.log(probability), math.log1p(-probability)
    return math.fsum(math.exp(ways + k * yes + (trials - k) * no) for k, ways in enumerate(coefficients))
