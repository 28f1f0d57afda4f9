"""The interval of a proportion: how often something happened of so many times."""

import math

from runner.interval import Interval

HALVINGS = 60
"""Of the unit interval: beyond that a float holds no more."""
NOTHING = 1e-20
"""What is no more of a sum than that is not in it: thousands of samples have few terms that count."""


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
    """Return the largest probability at which so few successes or fewer still have a chance of `tail`, below a half."""
    if successes == trials:
        return 1.0
    # The median of a binomial distribution is within one of its mean: at this and below, the chance is half or more.
    low, high = successes / trials, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _at_most(successes, trials, middle) > tail:
            low = middle
        else:
            high = middle
    return high


def _at_most(successes: int, trials: int, probability: float) -> float:
    """Return the chance of so few successes or fewer, of a mean of at least as many: the terms fall from the first."""
    # By logarithms, for the coefficient is beyond a float.
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    yes, no = math.log(probability), math.log1p(-probability)
    term = math.exp(ways + successes * yes + (trials - successes) * no)
    terms, least = [term], term * NOTHING
    for k in range(successes, 0, -1):
        term *= k / (trials - k + 1) * (1 - probability) / probability
        if term <= least:
            break
        terms.append(term)
    return math.fsum(terms)
