"""The estimators, held against scipy and against brute force."""

import itertools
import math
import random
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from runner import stats
from runner.interval import Interval


def sample(rng: random.Random, size: int) -> list[float]:
    """Draw times as they look: skewed, and every third time on a coarse clock, so that they tie."""
    values = [rng.lognormvariate(8, 0.3) for _ in range(size)]
    return [float(round(value, -3)) + 1000 for value in values] if rng.random() < 0.33 else values


def test_quantiles_are_those_of_numpys_linear_method() -> None:
    rng = random.Random(1)
    for _ in range(300):
        values = sample(rng, rng.randint(1, 40))
        q = rng.choice([0.0, 0.05, 0.5, 0.95, 1.0, rng.random()])
        assert stats.quantile(values, q) == pytest.approx(float(np.quantile(values, q)), rel=1e-12)
        assert stats.median(values) == pytest.approx(float(np.median(values)), rel=1e-12)


def test_quantiles_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"no quantile 0\.5 of 0 values"):
        stats.median([])
    with pytest.raises(ValueError, match=r"no quantile 1\.5 of 1 values"):
        stats.quantile([1], 1.5)


def test_p95_is_given_from_59_samples_on() -> None:
    assert stats.p95(list(range(58))) is None
    assert stats.p95(list(range(59))) == pytest.approx(0.95 * 58)
    assert 0.95**59 < 0.05 < 0.95**58


def test_median_intervals_are_those_of_scipy() -> None:
    rng = random.Random(2)
    reached = 0
    for _ in range(400):
        values = sample(rng, rng.randint(1, 60))
        confidence = rng.choice([0.9, 0.95, 0.99])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = reference.quantile_test(values, p=0.5).confidence_interval(confidence)
        found = stats.median_interval(values, confidence)
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
        found = stats.median_interval(values, 0.9)
        # Each value is below the true median or above it with equal chance: count the patterns in which it is inside.
        inside = sum(found.low < below <= found.high for below in map(sum, itertools.product((0, 1), repeat=n)))
        assert found.confidence == inside / 2**n


def test_the_interval_of_one_value_covers_nothing() -> None:
    assert stats.median_interval([7]) == Interval(
        low=7.0, high=7.0, confidence=0.0, method="order statistics of the median"
    )


def test_five_processes_give_the_interval_that_five_can_give() -> None:
    assert stats.median_interval([30, 10, 20, 50, 40]) == Interval(
        low=10.0, high=50.0, confidence=0.9375, method="order statistics of the median"
    )


@pytest.mark.parametrize(("m", "n"), [(1, 1), (1, 4), (2, 3), (3, 3), (4, 2), (5, 4), (5, 5)])
def test_mann_whitney_counts_are_those_of_all_orders(m: int, n: int) -> None:
    orders = itertools.combinations(range(m + n), m)
    statistics = Counter(sum(order) - m * (m - 1) // 2 for order in orders)
    assert stats.mann_whitney_counts(m, n) == [statistics[u] for u in range(m * n + 1)]


def test_a_ratio_just_outside_the_interval_is_rejected_by_scipys_exact_test_and_one_inside_is_not() -> None:
    rng = random.Random(3)
    for _ in range(300):
        host = [rng.lognormvariate(8, 0.1) for _ in range(rng.randint(5, 12))]
        device = [rng.lognormvariate(8 + rng.uniform(-1, 1), 0.1) for _ in range(rng.randint(5, 12))]
        confidence = rng.choice([0.9, 0.95, 0.99])
        _, interval = stats.hodges_lehmann_ratio(host, device, confidence)
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
        estimate, interval = stats.hodges_lehmann_ratio(host, device)
        assert estimate == pytest.approx(math.exp(float(np.median(ratios))), rel=1e-9)
        enough = 2 / math.comb(len(host) + len(device), len(host)) <= 0.01
        assert (interval is not None) is enough
        if interval:
            assert interval.low <= estimate <= interval.high
            assert interval.confidence >= 0.99


def test_the_interval_of_tied_values_is_a_point() -> None:
    estimate, interval = stats.hodges_lehmann_ratio([4.0] * 5, [2.0] * 5)
    assert interval is not None
    assert (estimate, interval.low, interval.high) == pytest.approx((0.5, 0.5, 0.5))
    assert interval.confidence == pytest.approx(1 - 2 / 252)


def test_ratios_of_nothing_and_of_no_time_are_refused() -> None:
    for host, device in [([], [1.0]), ([1.0], []), ([0.0], [1.0])]:
        with pytest.raises(ValueError, match="positive values on both sides"):
            stats.hodges_lehmann_ratio(host, device)


# Paired differences

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def paired(counts: tuple[int, int, int, int], confidence: float = 0.95) -> Interval:
    """Return the interval of samples that are true in both, the first alone, the second alone, and neither."""
    pairs = [
        pair
        for pair, count in zip([(True, True), (True, False), (False, True), (False, False)], counts, strict=True)
        for _ in range(count)
    ]
    return stats.paired_difference([a for a, _ in pairs], [b for _, b in pairs], confidence)


@pytest.mark.parametrize("counts", [(36, 12, 2, 0), (53, 4, 1, 23), (0, 0, 0, 1), (1000, 17, 9, 88), (0, 5, 0, 0)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_paired_differences_have_the_adjusted_wald_interval(
    counts: tuple[int, int, int, int], confidence: float
) -> None:
    # Wald's interval for a paired difference after one is added to each cell in which the two differ.
    _, b, c, _ = counts
    n = sum(counts) + 2
    scores = np.array([1.0] * (b + 1) + [-1.0] * (c + 1) + [0.0] * (n - b - c - 2))
    error = scores.std() / math.sqrt(n)
    z = reference.norm.isf((1 - confidence) / 2)
    found = paired(counts, confidence)
    assert found.low == pytest.approx(max(-1.0, scores.mean() - z * error), abs=1e-12)
    assert found.high == pytest.approx(min(1.0, scores.mean() + z * error), abs=1e-12)
    assert (found.confidence, found.method) == (confidence, "Bonett-Price")


def test_a_paired_difference_reckoned_on_paper() -> None:
    # 36 in both, 12 in the first alone, 2 in the second alone: 13/52 and 3/52, their difference 10/52.
    found = paired((36, 12, 2, 0))
    reach = 1.959963984540054 * math.sqrt((13 / 52 + 3 / 52 - (10 / 52) ** 2) / 52)
    assert (found.low, found.high) == pytest.approx((10 / 52 - reach, 10 / 52 + reach))
    assert (round(found.low, 4), round(found.high, 4)) == (0.0509, 0.3337)


def test_paired_intervals_cover_as_often_as_they_say() -> None:
    # Exactly, over all outcomes of 40 pairs: the least coverage at any of these truths is near the nominal one.
    n = 40
    for only_first, only_second in [(0.05, 0.05), (0.1, 0.02), (0.2, 0.2), (0.3, 0.1), (0.02, 0.0)]:
        covered = 0.0
        for b, c in itertools.product(range(n + 1), repeat=2):
            if b + c <= n:
                found = paired((n - b - c, b, c, 0))
                if found.low <= only_first - only_second <= found.high:
                    rest = 1 - only_first - only_second
                    covered += (
                        math.comb(n, b) * math.comb(n - b, c) * only_first**b * only_second**c * rest ** (n - b - c)
                    )
        assert covered >= 0.93, (only_first, only_second, covered)


@given(PAIRS, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_a_paired_interval_holds_the_difference_and_turns_round_with_its_sides(
    pairs: list[tuple[bool, bool]], confidence: float
) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found, turned = stats.paired_difference(first, second), stats.paired_difference(second, first)
    assert -1 <= found.low < found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    difference = (sum(first) - sum(second)) / len(pairs)
    shrunk = difference * len(pairs) / (len(pairs) + 2)
    assert found.low <= shrunk + 1e-12
    assert shrunk - 1e-12 <= found.high
    wider = stats.paired_difference(first, second, max(confidence, 0.95))
    assert wider.low <= found.low
    assert found.high <= wider.high


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_and_what_both_agree_on_do_not_count(
    pairs: list[tuple[bool, bool]], chance: random.Random
) -> None:
    shuffled = [(a or (a == b), b or (a == b)) for a, b in chance.sample(pairs, len(pairs))]
    found = stats.paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert stats.paired_difference([a for a, _ in shuffled], [b for _, b in shuffled]) == found


def test_differences_of_nothing_and_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no difference of 0 and 0 samples"):
        stats.paired_difference([], [])
    with pytest.raises(ValueError, match="no difference of 1 and 2 samples"):
        stats.paired_difference([True], [True, False])
