"""Ratios by ranks, held against scipy and against brute force."""

import itertools
import math
import random
from collections import Counter

import numpy as np
import pytest
from scipy import stats as reference

from runner.stats.ranks import hodges_lehmann_ratio, mann_whitney_counts, paired_ratio, signed_rank_counts
from tests.runner.stats.times import sample


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 4), (2, 3), (3, 3), (4, 2), (5, 4), (5, 5)])
def test_mann_whitney_counts_are_those_of_all_orders(m: int, n: int) -> None:
    orders = itertools.combinations(range(m + n), m)
    statistics = Counter(sum(order) - m * (m - 1) // 2 for order in orders)
    assert mann_whitney_counts(m, n) == tuple(statistics[u] for u in range(m * n + 1))


def test_a_ratio_just_outside_the_interval_is_rejected_by_scipys_exact_test_and_one_inside_is_not() -> None:
    rng = random.Random(3)
    for _ in range(300):
        host = [rng.lognormvariate(8, 0.1) for _ in range(rng.randint(5, 12))]
        device = [rng.lognormvariate(8 + rng.uniform(-1, 1), 0.1) for _ in range(rng.randint(5, 12))]
        confidence = rng.choice([0.9, 0.95, 0.99])
        _, interval = hodges_lehmann_ratio(host, device, confidence)
        assert interval is not None
        for ratio, inside in [
            (interval.low * (1 - 1e-9), False),
            (interval.low * (1 + 1e-9), True),
            (interval.high * (1 - 1e-9), True),
            (interval.high * (1 + 1e-9), False),
        ]:
            scaled = [value * ratio for value in host]
            p = reference.mannwhitneyu(scaled, device, method="exact").pvalue
            assert bool(p > 1 - confidence + 1e-12) is inside, (ratio, interval, p)


def test_the_estimate_is_the_median_of_all_ratios_also_with_ties_and_few_values() -> None:
    rng = random.Random(4)
    for _ in range(300):
        host, device = sample(rng, rng.randint(1, 9)), sample(rng, rng.randint(1, 9))
        ratios = [math.log(y / x) for x in host for y in device]
        estimate, interval = hodges_lehmann_ratio(host, device)
        assert estimate == pytest.approx(math.exp(float(np.median(ratios))), rel=1e-9)
        enough = 2 / math.comb(len(host) + len(device), len(host)) <= 0.01
        assert (interval is not None) is enough
        if interval:
            assert interval.low <= estimate <= interval.high
            assert interval.confidence >= 0.99


def test_the_interval_of_tied_values_is_a_point() -> None:
    estimate, interval = hodges_lehmann_ratio([4.0] * 5, [2.0] * 5)
    assert interval is not None
    assert (estimate, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    assert interval.confidence == pytest.approx(1 - 2 / 252)


def test_ratios_of_nothing_and_of_no_time_are_refused() -> None:
    for host, device in [([], [1.0]), ([1.0], []), ([0.0], [1.0])]:
        with pytest.raises(ValueError, match="positive values on both sides"):
            hodges_lehmann_ratio(host, device)


@pytest.mark.parametrize("n", range(1, 11))
def test_signed_rank_counts_are_those_of_all_signs(n: int) -> None:
    sums = Counter(
        sum(rank for rank, sign in enumerate(signs, start=1) if sign) for signs in itertools.product((0, 1), repeat=n)
    )
    assert signed_rank_counts(n) == tuple(sums[w] for w in range(n * (n + 1) // 2 + 1))


def test_a_paired_ratio_just_outside_the_interval_is_rejected_by_scipys_exact_test_and_one_inside_is_not() -> None:
    rng = random.Random(6)
    for _ in range(300):
        pace = [rng.lognormvariate(8, 0.5) for _ in range(rng.randint(8, 16))]
        host = [value * rng.lognormvariate(0, 0.02) for value in pace]
        device = [value * rng.lognormvariate(0.03, 0.05) for value in pace]
        confidence = rng.choice([0.9, 0.95, 0.99])
        _, interval = paired_ratio(host, device, confidence)
        assert interval is not None
        for ratio, inside in [
            (interval.low * (1 - 1e-9), False),
            (interval.low * (1 + 1e-9), True),
            (interval.high * (1 - 1e-9), True),
            (interval.high * (1 + 1e-9), False),
        ]:
            differences = [math.log(b) - math.log(a * ratio) for a, b in zip(host, device, strict=True)]
            p = reference.wilcoxon(differences, method="exact").pvalue
            assert bool(p > 1 - confidence + 1e-12) is inside, (ratio, interval, p)


def test_a_paired_estimate_is_the_median_of_all_walsh_averages_also_with_ties_and_few_values() -> None:
    rng = random.Random(7)
    for _ in range(300):
        n = rng.randint(1, 12)
        host, device = sample(rng, n), sample(rng, n)
        logs = np.log(device) - np.log(host)
        averages = ((logs[:, None] + logs[None, :]) / 2)[np.triu_indices(n)]
        estimate, interval = paired_ratio(host, device)
        assert estimate == pytest.approx(math.exp(float(np.median(averages))), rel=1e-9)
        assert (interval is not None) is (n >= 8)
        if interval:
            assert interval.low <= estimate <= interval.high
            assert interval.confidence >= 0.99


def test_an_interval_of_ties_is_the_one_that_the_same_values_have_when_hardly_apart() -> None:
    rng = random.Random(8)
    for _ in range(300):
        host = [1000.0 + rng.randint(0, 3) for _ in range(rng.randint(8, 12))]
        device = [1001.0 + rng.randint(0, 3) for _ in host]
        apart = [value * (1 + rng.uniform(-1e-10, 1e-10)) for value in (*host, *device)]
        for method in (hodges_lehmann_ratio, paired_ratio):
            _, tied = method(host, device)
            _, distinct = method(apart[: len(host)], apart[len(host) :])
            assert tied is not None
            assert distinct is not None
            assert (tied.low, tied.high) == pytest.approx((distinct.low, distinct.high), rel=1e-9)
            assert tied.confidence == distinct.confidence


def test_eight_pairs_give_the_interval_that_eight_can_give() -> None:
    _, interval = paired_ratio([100.0] * 8, [100.0, 101.0, 102.0, 103.0, 104.0, 105.0, 106.0, 107.0])
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx((1.0, 1.07))
    assert interval.confidence == 1 - 2 / 256
    assert interval.method == "Hodges-Lehmann, exact signed-rank"


def test_paired_ratios_of_nothing_of_no_time_and_of_unequal_sides_are_refused() -> None:
    for host, device in [([], []), ([1.0, 2.0], [1.0]), ([0.0], [1.0])]:
        with pytest.raises(ValueError, match="as many positive values on one side as on the other"):
            paired_ratio(host, device)
