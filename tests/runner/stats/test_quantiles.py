"""Quantiles and the interval of the median, held against numpy, scipy and brute force."""

import itertools
import math
import random
import warnings

import numpy as np
import pytest
from scipy import stats as reference

from runner.interval import Interval
from runner.stats.quantiles import least_samples, median, median_interval, percentile, quantile
from tests.runner.stats.times import sample


def test_quantiles_are_those_of_numpys_linear_method() -> None:
    rng = random.Random(1)
    for _ in range(300):
        values = sample(rng, rng.randint(1, 40))
        q = rng.choice([0.0, 0.05, 0.5, 0.95, 1.0, rng.random()])
        assert quantile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-12)
        assert median(values) == pytest.approx(float(np.median(values)), rel=1e-12)


def test_quantiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no quantile 0\.5 of 0 values"):
        median([])
    with pytest.raises(ValueError, match=r"no quantile 1\.5 of 1 values"):
        quantile([1], 1.5)


def test_a_percentile_is_given_from_where_its_largest_sample_bounds_it() -> None:
    assert percentile(list(range(58)), 0.95) is None
    assert percentile(list(range(59)), 0.95) == pytest.approx(0.95 * 58)
    assert percentile(list(range(298)), 0.99) is None
    assert percentile(list(range(299)), 0.99) == pytest.approx(0.99 * 298)


@pytest.mark.parametrize(
    ("q", "confidence", "least"), [(0.95, 0.95, 59), (0.99, 0.95, 299), (0.95, 0.99, 90), (0.99, 0.99, 459)]
)
def test_the_least_samples_of_a_percentile_are_those_of_the_tables(q: float, confidence: float, least: int) -> None:
    assert least_samples(q, confidence) == least


def test_one_sample_fewer_bounds_nothing() -> None:
    rng = random.Random(5)
    for _ in range(300):
        q, confidence = rng.uniform(0.01, 0.999), rng.uniform(0.01, 0.999)
        n = least_samples(q, confidence)
        assert q**n <= 1 - confidence
        assert n == 1 or q ** (n - 1) > 1 - confidence
    assert least_samples(0.5, 0.75) == 2
    with pytest.raises(ValueError, match=r"no bound of the quantile 1\.0 at a confidence of 0\.95"):
        least_samples(1.0)


def test_median_intervals_are_those_of_scipy() -> None:
    rng = random.Random(2)
    reached = 0
    for _ in range(400):
        values = sample(rng, rng.randint(1, 60))
        confidence = rng.choice([0.9, 0.95, 0.99])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = reference.quantile_test(values, p=0.5).confidence_interval(confidence)
        found = median_interval(values, confidence)
        if math.isnan(expected.low):
            assert (found.low, found.high) == (min(values), max(values))
            assert found.confidence == pytest.approx(1 - 2 * 0.5 ** len(values))
            assert found.confidence < confidence
        else:
            reached += 1
            assert (found.low, found.high) == (expected.low, expected.high)
            assert found.confidence >= confidence
    assert reached > 250


def test_median_intervals_cover_as_often_as_they_say() -> None:
    for n in range(1, 13):
        values = list(range(n))
        found = median_interval(values, 0.9)
        # Each value is below the true median or above it with equal chance: count the patterns in which it is inside.
        inside = sum(found.low < below <= found.high for below in map(sum, itertools.product((0, 1), repeat=n)))
        assert found.confidence == inside / 2**n


def test_the_interval_of_one_value_covers_nothing() -> None:
    assert median_interval([7]) == Interval(low=7.0, high=7.0, confidence=0.0, method="order statistics of the median")


def test_five_processes_give_the_interval_that_five_can_give() -> None:
    assert median_interval([30, 10, 20, 50, 40]) == Interval(
        low=10.0, high=50.0, confidence=0.9375, method="order statistics of the median"
    )
