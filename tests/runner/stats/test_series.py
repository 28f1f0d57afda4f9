"""What a series of samples says of itself, held against scipy, brute force and simulation."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy import stats as reference

from runner.stats.series import (
    autocorrelation,
    block_medians,
    drift,
    effective_samples,
    mann_kendall,
    steady,
)


def normal(rng: random.Random, size: int, spread: float = 0.01) -> list[float]:
    """Draw times about 1000 that do not depend on each other."""
    return [1000 * (1 + rng.gauss(0, spread)) for _ in range(size)]


def autoregressive(
    rng: np.random.Generator, rho: float, shape: tuple[int, int]
) -> "np.ndarray[tuple[int, int], np.dtype[np.float64]]":
    """Draw stationary AR(1) series of unit variance, one a row."""
    found = rng.standard_normal(shape)
    for step in range(1, shape[1]):
        found[:, step] = rho * found[:, step - 1] + math.sqrt(1 - rho**2) * found[:, step]
    return found


def test_the_variance_of_the_trend_test_is_that_of_all_orders_also_with_ties() -> None:
    rng = random.Random(12)
    for _ in range(300):
        values = [float(rng.randint(0, 4)) for _ in range(rng.randint(1, 6))]
        scores = [
            sum(int(np.sign(b - a)) for a, b in itertools.combinations(order, 2))
            for order in itertools.permutations(values)
        ]
        found = mann_kendall(values)
        assert found.score == scores[0]
        assert found.variance == pytest.approx(np.var(scores), abs=1e-9)


def test_without_the_correction_for_continuity_the_p_value_is_that_of_scipys_rank_correlation() -> None:
    rng = random.Random(13)
    for _ in range(300):
        values = [float(rng.randint(0, rng.choice([5, 1000]))) for _ in range(rng.randint(3, 40))]
        if len(set(values)) == 1:
            continue
        expected = reference.kendalltau(range(len(values)), values, method="asymptotic").pvalue
        found = mann_kendall(values)
        assert math.erfc(abs(found.score) / math.sqrt(2 * found.variance)) == pytest.approx(expected, rel=1e-6)
        assert found.p_value >= expected * (1 - 1e-6)


def test_the_p_value_of_twenty_blocks_is_near_the_exact_one() -> None:
    rng = random.Random(14)
    for _ in range(300):
        values = [rng.random() + index * rng.choice([0.0, 0.02]) for index in range(20)]
        expected = reference.kendalltau(range(20), values, method="exact").pvalue
        assert mann_kendall(values).p_value == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("values", [[], [5.0], [5.0, 5.0, 5.0]])
def test_what_does_not_vary_has_no_trend(values: list[float]) -> None:
    found = mann_kendall(values)
    assert (found.score, found.variance, found.p_value) == (0, 0.0, 1.0)


def test_blocks_are_consecutive_and_as_equal_as_may_be() -> None:
    assert block_medians([1, 2, 3, 4, 5, 6, 7], 3) == [1.5, 3.5, 6]
    assert block_medians(list(range(20))) == list(range(20))
    with pytest.raises(ValueError, match="no 20 blocks of 19 samples"):
        block_medians([1.0] * 19)


def test_a_process_that_becomes_slower_by_five_percent_is_not_steady() -> None:
    rng = random.Random(15)
    rising = [value * (1 + 0.075 * index / 600) for index, value in enumerate(normal(rng, 600))]
    found = drift(rising)
    assert found is not None
    assert found.p_value < 1e-6
    assert found.change == pytest.approx(0.05, abs=0.005)
    assert not found.steady
    assert steady(rising) is False
    assert steady(rising[::-1]) is False


def test_a_sure_trend_of_one_percent_and_a_wide_scatter_are_steady() -> None:
    rng = random.Random(16)
    slight = [value * (1 + 0.015 * index / 2000) for index, value in enumerate(normal(rng, 2000))]
    found = drift(slight)
    assert found is not None
    assert found.p_value < 0.01
    assert found.steady
    spiked = [value * (5 if rng.random() < 0.05 else 1) for value in normal(rng, 600)]
    assert steady(spiked) is True
    assert steady([1000.0] * 600) is True


def test_too_few_samples_are_neither_steady_nor_not() -> None:
    assert steady([1000.0] * 19) is None
    assert drift([1000.0] * 19) is None
    assert steady([1000.0] * 20) is True


def test_of_steady_processes_hardly_one_in_a_hundred_is_called_unsteady() -> None:
    rng = random.Random(17)
    called = sum(steady(normal(rng, 100, spread=0.1)) is False for _ in range(1000))
    assert called <= 15


def test_the_autocorrelation_is_the_textbooks_sum() -> None:
    rng = random.Random(18)
    for _ in range(300):
        values = [float(rng.randint(0, 9)) for _ in range(rng.randint(3, 30))]
        if len(set(values)) == 1:
            continue
        mean = sum(values) / len(values)
        products = sum((a - mean) * (b - mean) for a, b in itertools.pairwise(values))
        assert autocorrelation(values) == pytest.approx(products / sum((v - mean) ** 2 for v in values), abs=1e-12)


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0], [3.0] * 50])
def test_where_nothing_varies_there_is_no_autocorrelation(values: list[float]) -> None:
    assert autocorrelation(values) is None
    assert effective_samples(values) is None


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_the_mean_of_a_series_scatters_as_that_of_its_effective_samples(rho: float) -> None:
    series = autoregressive(np.random.default_rng(19), rho, (1500, 1500))
    typical = float(np.median([effective_samples(row.tolist()) or 0.0 for row in series]))
    assert 1 / np.var(series.mean(axis=1)) == pytest.approx(typical, rel=0.12)
    assert typical == pytest.approx(1500 * (1 - rho) / (1 + rho), rel=0.05)


def test_effective_samples_are_never_fewer_than_one_nor_more_than_there_are() -> None:
    assert effective_samples([1.0, 2.0] * 50) == 100.0
    assert effective_samples([1.0] * 50_000 + [2.0] * 50_000) == pytest.approx(1.5, abs=0.01)
