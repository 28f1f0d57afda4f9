"""Times as they look, for the tests of estimators."""

import random


def sample(rng: random.Random, size: int) -> list[float]:
    """Draw times as they look: skewed, and every third time on a coarse clock, so that they tie."""
    values = [rng.lognormvariate(8, 0.3) for _ in range(size)]
    return [float(round(value, -3)) + 1000 for value in values] if rng.random() < 0.33 else values
