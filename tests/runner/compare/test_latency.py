"""The words on two sets of latencies: at the very borders, with too few processes, and below the noise."""

import math
import random

import pytest

from runner.compare.latency import judge, judge_blocks

SPREAD = (0.996, 0.998, 1.0, 1.002, 1.004)


def about(median: float) -> list[float]:
    """Return five latencies about a median."""
    return [median * part for part in SPREAD]


@pytest.mark.parametrize(
    ("ratio", "word"), [(1.03, "slower"), (1 / 1.03, "faster"), (1.01, "equivalent"), (1.02, "inconclusive")]
)
def test_a_word_is_said_where_the_whole_interval_allows_it(ratio: float, word: str) -> None:
    found = judge(about(100), about(100 * ratio), 0.02)
    assert found.word == word
    assert found.ratio == pytest.approx(ratio)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((ratio * 0.996 / 1.004, ratio * 1.004 / 0.996))
    assert (found.margin, found.hidden) == (0.02, False)


def test_an_interval_that_ends_at_the_border_is_within_it() -> None:
    assert judge([100.0] * 5, [200.0] * 5, 1.0).word == "equivalent"
    assert judge([200.0] * 5, [100.0] * 5, 1.0).word == "equivalent"
    assert judge([100.0] * 5, [200.1] * 5, 1.0).word == "slower"
    assert judge([200.1] * 5, [100.0] * 5, 1.0).word == "faster"
    assert judge([100.0] * 5, [100.0] * 5, 0.0).word == "equivalent"


def test_turned_round_the_verdict_is_turned_round() -> None:
    rng = random.Random(20)
    turned = {"slower": "faster", "faster": "slower"}
    words = set()
    for _ in range(300):
        x = [rng.lognormvariate(0, 0.01) for _ in range(rng.randint(5, 12))]
        shift = rng.uniform(-0.06, 0.06)
        y = [rng.lognormvariate(shift, 0.01) for _ in x]
        for method in (judge, judge_blocks):
            found, back = method(x, y, 0.02), method(y, x, 0.02)
            assert back.word == turned.get(found.word, found.word)
            assert back.ratio == pytest.approx(1 / found.ratio)
            assert back.smallest_effect == pytest.approx(found.smallest_effect)
            assert back.more_processes == found.more_processes
            words.add(found.word)
    assert words == {"slower", "faster", "equivalent", "inconclusive"}


@pytest.mark.parametrize(
    ("ratio", "floor", "word", "hidden"),
    [
        (1.01, 0.02, "equivalent", False),
        (1.01, 0.05, "inconclusive", True),
        (1.03, 0.05, "inconclusive", True),
        (1.049, 0.05, "inconclusive", True),
        (1.051, 0.05, "inconclusive", False),
        (1.07, 0.05, "slower", False),
    ],
)
def test_what_lies_within_a_floor_above_the_margin_is_hidden_and_not_equivalent(
    ratio: float, floor: float, word: str, hidden: bool
) -> None:
    found = judge(about(100), about(100 * ratio), 0.02, floor=floor)
    assert (found.word, found.hidden, found.margin) == (word, hidden, floor)
    assert not hidden or found.more_processes is None


def test_the_smallest_effect_is_the_margin_and_what_the_interval_needs_beyond_it() -> None:
    found = judge(about(100), about(100), 0.02)
    assert found.interval is not None
    assert found.interval.confidence == pytest.approx(1 - 2 / 252)
    half = math.log(1.004 / 0.996)
    # 0.8416 and 2.6571 are the normal quantiles of 0.8 and of 1 - 1 / 252.
    assert found.smallest_effect == pytest.approx(1.02 * math.exp(half * (1 + 0.8416 / 2.6571)) - 1, rel=1e-3)


def test_more_processes_are_asked_for_only_where_they_would_settle_it() -> None:
    assert judge(about(100), about(103), 0.02).more_processes is None
    near = judge(about(100), about(102.5), 0.02).more_processes
    nearer = judge(about(100), about(102.2), 0.02).more_processes
    assert near is not None
    assert nearer is not None
    assert 0 < near < nearer
    assert judge(about(100), about(102.0001), 0.02).more_processes is None
    assert judge([100.0] * 5, [102.0] * 5, 0.02).more_processes is None


@pytest.mark.parametrize(("x", "y", "more"), [(3, 5, 1), (3, 3, 2), (1, 1, 4), (4, 20, None), (5, 4, 1)])
def test_too_few_processes_are_told_how_many_are_missing(x: int, y: int, more: int | None) -> None:
    found = judge([1.0] * x, [2.0] * y, 0.02)
    assert found.ratio == pytest.approx(2.0)
    if more is None:
        assert found.word == "slower"
    else:
        assert (found.word, found.interval, found.smallest_effect) == ("inconclusive", None, None)
        assert found.more_processes == more


def test_blocks_are_judged_pair_by_pair() -> None:
    pace = [1, 2, 4, 8, 16, 32, 64, 128]
    slower = [step * part for step, part in zip(pace, (1.05, 1.06, 1.05, 1.04, 1.05, 1.06, 1.05, 1.04), strict=True)]
    found = judge_blocks(pace, slower, 0.02)
    assert (found.word, round(found.ratio, 3)) == ("slower", 1.05)
    assert found.interval is not None
    assert found.interval.method == "Hodges-Lehmann, exact signed-rank"
    assert judge(pace, slower, 0.02).word == "inconclusive"
    few = judge_blocks(pace[:6], slower[:6], 0.02)
    assert (few.word, few.interval, few.more_processes) == ("inconclusive", None, 2)
