"""How often a verdict is wrong, over thousands of simulated pairs: seeded, and without a clock.

A pair is two sessions of some processes with 60 samples each. A process has an effect of its own, as address layout and
heap give it; its samples follow an AR(1) series about that, and some are spikes.
"""

import functools
from collections import Counter
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats as reference

from runner.compare.comparison import LatencyVerdict
from runner.compare.latency import judge, judge_blocks

Array = NDArray[np.float64]
Effects = Callable[[np.random.Generator, tuple[int, ...]], Array]

PAIRS = 2000
SAMPLES = 60
MOST_FALSE = 0.015
MARGINS = (0.0, 0.02)


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw effects of processes, as logarithms: 1 % apart."""
    return 0.01 * rng.standard_normal(shape)


def bimodal(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw effects of processes that fall on one of two cores, 4 % apart."""
    return rng.choice([-0.02, 0.02], shape) + 0.002 * rng.standard_normal(shape)


def heavy_tailed(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Draw effects of processes of which a few are far from the others: Student's t with 2 degrees of freedom."""
    return 0.01 * rng.standard_t(2, shape)


EFFECTS: tuple[Effects, ...] = (normal, bimodal, heavy_tailed)


@functools.cache
def measured(effects: Effects, processes: int) -> Array:
    """Return latencies in ns, pairs x 2 sides x processes x samples, with nothing changed between the sides."""
    rng = np.random.default_rng(processes)
    shape = (PAIRS, 2, processes)
    noise = rng.standard_normal((*shape, SAMPLES))
    for step in range(1, SAMPLES):
        noise[..., step] = 0.7 * noise[..., step - 1] + np.sqrt(1 - 0.7**2) * noise[..., step]
    spikes = np.where(rng.random(noise.shape) < 0.01, rng.uniform(1.1, 1.5, noise.shape), 1.0)
    return np.asarray(1e6 * np.exp(effects(rng, shape)[..., None] + 0.01 * noise) * spikes)


@functools.cache
def medians(effects: Effects, processes: int) -> Array:
    """Return the medians of the processes: pairs x 2 sides x processes."""
    return np.asarray(np.median(measured(effects, processes), axis=-1))


def rates(verdicts: Iterable[LatencyVerdict]) -> dict[str, float]:
    """Return how often each word was said, and `false` for the words that claim a difference."""
    words = Counter(verdict.word for verdict in verdicts)
    found = {word: words[word] / words.total() for word in ("faster", "slower", "equivalent", "inconclusive")}
    return {**found, "false": found["faster"] + found["slower"]}


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("processes", [5, 10])
def test_where_nothing_has_changed_hardly_a_difference_is_claimed(effects: Effects, processes: int) -> None:
    for margin in MARGINS:
        found = rates(judge(x.tolist(), y.tolist(), margin) for x, y in medians(effects, processes))
        assert found["false"] <= MOST_FALSE, (margin, found)


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize(("alpha", "least"), [(0.05, 0.45), (0.01, 0.3)])
def test_a_t_test_over_all_samples_claims_a_difference_where_there_is_none(
    effects: Effects, alpha: float, least: float
) -> None:
    x, y = measured(effects, 5).reshape(PAIRS, 2, -1).transpose(1, 0, 2)
    claimed = reference.ttest_ind(np.log(x), np.log(y), axis=-1, equal_var=False).pvalue < alpha
    assert least < float(np.mean(claimed)) < 1


def test_a_test_over_the_medians_of_processes_is_what_makes_the_difference() -> None:
    for effects in EFFECTS:
        x, y = np.log(medians(effects, 10)).transpose(1, 0, 2)
        p_values = reference.mannwhitneyu(x, y, axis=-1, method="exact").pvalue
        claimed = [verdict.word != "inconclusive" for verdict in verdicts_without_margin(effects)]
        assert claimed == (p_values <= 0.01).tolist()


def verdicts_without_margin(effects: Effects) -> list[LatencyVerdict]:
    """Return the verdicts on pairs of 10 processes, with every difference of interest."""
    return [judge(x.tolist(), y.tolist(), 0.0) for x, y in medians(effects, 10)]


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("processes", [5, 10])
def test_what_differs_by_more_than_the_margin_is_hardly_ever_called_equivalent(
    effects: Effects, processes: int
) -> None:
    # A tenth of the scatter, so that the word is within reach at all; the last case shows that it is.
    pairs = (medians(effects, processes) / 1e6) ** 0.1
    for effect, least, most in [(1.0201, 0.0, MOST_FALSE), (1 / 1.0201, 0.0, MOST_FALSE), (1.0, 0.9, 1.0)]:
        found = rates(judge(x.tolist(), (effect * y).tolist(), 0.02) for x, y in pairs)
        assert least <= found["equivalent"] <= most, (effect, found)
        assert found["false"] <= MOST_FALSE


def test_sessions_that_differ_need_a_floor_and_what_it_hides_is_not_called_equivalent() -> None:
    rng = np.random.default_rng(1)
    sessions = np.exp(0.01 * rng.standard_normal((PAIRS, 2, 1)))
    pairs = (medians(normal, 10) / 1e6) ** 0.3 * sessions
    bare = rates(judge(x.tolist(), y.tolist(), 0.0) for x, y in pairs)
    assert bare["false"] > 0.5
    for effect in (1.0, 1.03):
        floored = rates(judge(x.tolist(), (effect * y).tolist(), 0.02, floor=0.05) for x, y in pairs)
        assert floored["equivalent"] == 0.0
    assert rates(judge(x.tolist(), y.tolist(), 0.02, floor=0.05) for x, y in pairs)["false"] <= MOST_FALSE


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("scatter", [0.01, 0.1, 1.0])
def test_five_percent_below_a_floor_of_ten_is_never_called_equivalent(effects: Effects, scatter: float) -> None:
    # Of processes that hardly differ the interval lies within the floor, and the word is within reach.
    pairs = (medians(effects, 10) / 1e6) ** scatter
    words = {judge(x.tolist(), (1.05 * y).tolist(), 0.02, floor=0.1).word for x, y in pairs}
    assert "inconclusive" in words
    assert "equivalent" not in words


@pytest.mark.parametrize("effects", EFFECTS)
@pytest.mark.parametrize("blocks", [8, 12])
def test_interleaved_sides_are_judged_as_surely_while_the_machine_drifts(effects: Effects, blocks: int) -> None:
    rng = np.random.default_rng(2)
    pace = np.exp(np.cumsum(0.03 * rng.standard_normal((PAIRS, 1, blocks)), axis=-1))
    pairs = medians(effects, blocks) * pace
    for margin in MARGINS:
        found = rates(judge_blocks(x.tolist(), y.tolist(), margin) for x, y in pairs)
        assert found["false"] <= MOST_FALSE, (margin, found)


def test_by_interleaving_five_percent_is_found_in_four_cases_of_five_where_separate_sides_miss_it() -> None:
    rng = np.random.default_rng(3)
    pace = np.exp(np.cumsum(0.03 * rng.standard_normal((PAIRS, 1, 12)), axis=-1))
    pairs = medians(normal, 12) * pace
    assert rates(judge_blocks(x.tolist(), (1.05 * y).tolist(), 0.02) for x, y in pairs)["slower"] >= 0.8
    assert rates(judge(x.tolist(), (1.05 * y).tolist(), 0.02) for x, y in pairs)["slower"] < 0.2


@pytest.mark.parametrize("effects", [normal, heavy_tailed])
@pytest.mark.parametrize("processes", [5, 10, 20])
def test_the_smallest_detectable_effect_is_found_about_as_often_as_is_said(effects: Effects, processes: int) -> None:
    pairs = medians(effects, processes)
    told = [judge(x.tolist(), y.tolist(), 0.02).smallest_effect for x, y in pairs]
    typical = 1 + float(np.median([effect for effect in told if effect is not None]))
    found = rates(judge(x.tolist(), (typical * y).tolist(), 0.02) for x, y in pairs)
    assert 0.65 <= found["slower"] <= 0.85, (typical, found)


@pytest.mark.parametrize(("effect", "word"), [(1.035, "slower"), (1.004, "equivalent")])
def test_as_many_more_processes_as_are_asked_for_settle_it(effect: float, word: str) -> None:
    few, many = medians(normal, 5)[:500], medians(normal, 40)[:500]
    asked = [judge(x.tolist(), (effect * y).tolist(), 0.02).more_processes for x, y in few]
    typical = int(np.median([more for more in asked if more is not None]))

    def settled(processes: int) -> float:
        return rates(judge(x[:processes].tolist(), (effect * y[:processes]).tolist(), 0.02) for x, y in many)[word]

    assert settled(5 + typical // 4) < 0.7
    assert settled(5 + typical) > 0.8
