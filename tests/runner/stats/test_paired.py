"""Paired answers: tests and intervals, held against scipy, tables and brute force."""

import itertools
import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats as reference

from runner.interval import Interval
from runner.stats.paired import bonett_price, fewest_discordant, mcnemar, paired_difference, samples_needed

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def paired(counts: tuple[int, int, int, int], confidence: float = 0.95) -> Interval:
    """Return the interval of samples that are true in both, the first alone, the second alone, and neither."""
    pairs = [
        pair
        for pair, count in zip([(True, True), (True, False), (False, True), (False, False)], counts, strict=True)
        for _ in range(count)
    ]
    return paired_difference([a for a, _ in pairs], [b for _, b in pairs], confidence)


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
    found, turned = paired_difference(first, second), paired_difference(second, first)
    assert -1 <= found.low < found.high <= 1
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))
    difference = (sum(first) - sum(second)) / len(pairs)
    shrunk = difference * len(pairs) / (len(pairs) + 2)
    assert found.low <= shrunk + 1e-12
    assert shrunk - 1e-12 <= found.high
    wider = paired_difference(first, second, max(confidence, 0.95))
    assert wider.low <= found.low
    assert found.high <= wider.high


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_the_samples_and_what_both_agree_on_do_not_count(
    pairs: list[tuple[bool, bool]], chance: random.Random
) -> None:
    shuffled = [(a or (a == b), b or (a == b)) for a, b in chance.sample(pairs, len(pairs))]
    found = paired_difference([a for a, _ in pairs], [b for _, b in pairs])
    assert paired_difference([a for a, _ in shuffled], [b for _, b in shuffled]) == found


def test_differences_of_nothing_and_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="no difference of 0 and 0 samples"):
        paired_difference([], [])
    with pytest.raises(ValueError, match="no difference of 1 and 2 samples"):
        paired_difference([True], [True, False])


def test_the_interval_of_counts_is_the_one_of_the_samples_they_count() -> None:
    rng = random.Random(9)
    for _ in range(300):
        first = [rng.random() < 0.8 for _ in range(rng.randint(1, 60))]
        second = [answer if rng.random() < 0.9 else not answer for answer in first]
        only_first = sum(a and not b for a, b in zip(first, second, strict=True))
        only_second = sum(b and not a for a, b in zip(first, second, strict=True))
        assert bonett_price(only_first, only_second, len(first), 0.9) == paired_difference(first, second, 0.9)


# McNemar's test, and how many samples it takes


def test_mcnemars_p_is_that_of_scipys_binomial_test() -> None:
    rng = random.Random(10)
    for _ in range(400):
        b, c = (rng.choice([0, 1, rng.randint(0, 20), rng.randint(0, 400)]) for _ in range(2))
        expected = reference.binomtest(b, b + c, 0.5).pvalue if b + c else 1.0
        assert mcnemar(b, c) == pytest.approx(expected, rel=1e-9)
        assert mcnemar(c, b) == mcnemar(b, c)


def test_mcnemars_p_is_that_of_all_patterns() -> None:
    for n in range(1, 11):
        for b in range(n + 1):
            extreme = sum(abs(2 * sum(signs) - n) >= abs(2 * b - n) for signs in itertools.product((0, 1), repeat=n))
            assert mcnemar(b, n - b) == extreme / 2**n


def test_thousands_of_flips_are_beyond_no_float() -> None:
    assert mcnemar(20_000, 20_000) == 1.0
    assert mcnemar(0, 40_000) == 0.0
    with pytest.raises(ValueError, match="no test of -1 and 3 samples"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(("alpha", "fewest"), [(0.05, 6), (0.01, 8), (0.001, 11)])
def test_with_one_flip_fewer_no_significance_can_be_reached(alpha: float, fewest: int) -> None:
    assert fewest_discordant(alpha) == fewest
    assert mcnemar(fewest, 0) < alpha <= mcnemar(fewest - 1, 0)


@pytest.mark.parametrize(("flips", "samples"), [(0.01, 619), (0.02, 1237), (0.05, 3092)])
def test_a_margin_of_one_point_needs_the_samples_of_the_table(flips: float, samples: int) -> None:
    assert samples_needed(0.01, flips) == samples


def test_so_many_samples_show_what_is_there_about_as_often_as_they_were_reckoned_to() -> None:
    # Exactly, over all outcomes: the share in which the lower end of 90 % is above the margin, where nothing is lost.
    for margin, flips in [(0.03, 0.05), (0.03, 0.1), (0.05, 0.2), (0.02, 0.04)]:
        n = samples_needed(margin, flips)
        shown = 0.0
        for discordant in range(n + 1):
            weight = reference.binom.pmf(discordant, n, flips)
            if weight > 1e-9:
                shown += weight * sum(
                    reference.binom.pmf(lost, discordant, 0.5)
                    for lost in range(discordant + 1)
                    if bonett_price(discordant - lost, lost, n, 0.9).low > -margin
                )
        assert 0.7 < shown < 0.85, (margin, flips, n, shown)


def test_no_number_of_samples_shows_that_nothing_at_all_is_lost() -> None:
    with pytest.raises(ValueError, match=r"no number of samples shows a margin of 0\.0"):
        samples_needed(0.0, 0.01)
