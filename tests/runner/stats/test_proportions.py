"""Intervals of proportions, held against scipy."""

import random

import pytest
from scipy import stats as reference

from runner.stats.proportions import clopper_pearson


def test_clopper_pearson_intervals_are_those_of_scipy() -> None:
    rng = random.Random(11)
    for _ in range(400):
        trials = rng.choice([rng.randint(1, 5), rng.randint(1, 80), rng.randint(1, 600)])
        successes = rng.choice([0, trials, rng.randint(0, trials)])
        confidence = rng.choice([0.8, 0.9, 0.95, 0.99])
        expected = reference.binomtest(successes, trials).proportion_ci(confidence, method="exact")
        found = clopper_pearson(successes, trials, confidence)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert (found.confidence, found.method) == (confidence, "Clopper-Pearson")


def test_one_false_verdict_in_sixty_is_told_with_what_it_may_mean() -> None:
    found = clopper_pearson(1, 60)
    assert (round(found.low, 5), round(found.high, 5)) == (0.00042, 0.08940)
    assert clopper_pearson(0, 1).low == 0.0
    assert clopper_pearson(1, 1).high == 1.0


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (2, 1), (-1, 5)])
def test_proportions_of_nothing_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"no proportion of {successes} in {trials}"):
        clopper_pearson(successes, trials)
