"""What settles a verdict, as an effort that can be asked for."""

import pytest

from runner.compare.effort import MOST_PROCESSES, beyond_effort, with_effort
from runner.compare.latency import judge, judge_blocks
from runner.measure.latency import PLANS, TURNS
from runner.report import Effort

SPREAD = (0.996, 0.998, 1.0, 1.002, 1.004)


def about(median: float, processes: int = 5) -> list[float]:
    """Return latencies about a median."""
    return [median * SPREAD[index % 5] for index in range(processes)]


@pytest.mark.parametrize(
    ("ratio", "needed", "effort"), [(1.03, None, None), (1.028, 10, "standard"), (1.0265, 14, "rigorous")]
)
def test_the_least_effort_with_enough_processes_is_named(
    ratio: float, needed: int | None, effort: Effort | None
) -> None:
    found = with_effort(judge(about(100), about(100 * ratio), 0.02), PLANS)
    assert (found.processes_needed, found.effort) == (needed, effort)
    assert list(beyond_effort(found)) == []


def test_more_processes_than_the_most_rigorous_run_has_are_told() -> None:
    found = with_effort(judge(about(100), about(102.3), 0.02), PLANS)
    assert found.processes_needed is not None
    assert found.processes_needed > MOST_PROCESSES == 20
    assert found.effort is None
    (reason,) = beyond_effort(found)
    assert (reason.code, reason.level) == ("few-processes", "note")
    assert reason.detail == (
        f"about {found.processes_needed} processes on each side would settle the latency: "
        "more than the 20 of --effort rigorous"
    )


@pytest.mark.parametrize(("x", "y"), [(1, 1), (3, 5), (1, 20)])
def test_five_processes_on_each_side_give_an_interval_and_any_effort_has_them(x: int, y: int) -> None:
    found = with_effort(judge([1.0] * x, [2.0] * y, 0.02), PLANS)
    assert (found.processes_needed, found.effort) == (5, "quick")


def test_in_turn_an_interval_needs_eight_rounds() -> None:
    found = with_effort(judge_blocks([1.0] * 6, [2.0] * 6, 0.02), TURNS)
    assert (found.more_processes, found.processes_needed, found.effort) == (2, 8, "quick")


def test_sides_of_unlike_size_are_worth_their_harmonic_mean() -> None:
    found = judge(about(100), about(102.4, processes=20), 0.02)
    assert found.more_processes is not None
    assert found.processes_needed is not None
    ours, theirs = 5 + found.more_processes, 20 + found.more_processes
    assert ours <= found.processes_needed <= theirs
    assert 2 / found.processes_needed <= 1 / ours + 1 / theirs < 2 / (found.processes_needed - 1)
