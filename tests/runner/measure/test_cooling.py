"""The gate before each worker process: how long it stays shut, told by sensors and a clock that are made up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat

import pytest

from runner.measure.cooling import MOST_S, STEP_S, Gate
from runner.process import Counters
from tests.fakes import counters


@dataclass
class Sun:
    """Sleeps at once, and remembers for how long it was to."""

    slept: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def clock(self) -> float:
        """Return the time, in seconds."""
        return 100.0 + sum(self.slept)

    def sleep(self, seconds: float) -> None:
        """Let time go by."""
        self.slept.append(seconds)


def gate(sun: Sun, seen: Sequence[Counters], start: Counters) -> Gate:
    """Return a gate whose sensors say one thing after the other, and the last one for ever."""
    says = chain(seen, repeat(seen[-1]))
    return Gate(read=lambda: next(says), start=start, clock=sun.clock, sleep=sun.sleep)


def celsius(*degrees: float | None) -> list[Counters]:
    """Return what sensors say one after the other."""
    return [counters(temperature_c=each) for each in degrees]


@pytest.mark.parametrize(
    ("start", "now"), [(50.0, 50.0), (50.0, 55.0), (50.0, 40.0), (None, 90.0), (50.0, None), (None, None)]
)
def test_nobody_waits_on_a_machine_that_is_as_cool_as_before_or_tells_nothing(
    start: float | None, now: float | None
) -> None:
    sun = Sun()
    assert gate(sun, celsius(now), counters(temperature_c=start)).wait(sun.told.append) == 0.0
    assert (sun.slept, sun.told) == ([], [])


def test_a_machine_that_is_too_warm_is_waited_for() -> None:
    sun = Sun()
    waited_s = gate(sun, celsius(61.0, 58.0, 55.6, 55.0), counters(temperature_c=50.0)).wait(sun.told.append)
    assert (waited_s, sun.slept) == (3 * STEP_S, [STEP_S] * 3)
    assert sun.told == [f"cools down from {hot} to 55 °C" for hot in (61, 58, 56)]


def test_a_machine_that_never_cools_down_is_given_up_after_thirty_seconds() -> None:
    sun = Sun()
    assert gate(sun, celsius(80.0), counters(temperature_c=50.0)).wait(sun.told.append) == MOST_S == 30.0
    assert sum(sun.slept) == 30.0


def test_a_board_that_slows_itself_down_is_waited_for_whatever_its_temperature() -> None:
    sun = Sun()
    seen = [counters(throttled_now=4), counters(throttled_now=2), counters(throttled_now=0)]
    assert gate(sun, seen, counters(throttled_now=0)).wait(sun.told.append) == 2 * STEP_S
    assert sun.told == ["waits until the board is no longer slowed down"] * 2


def test_nobody_waits_for_what_was_so_from_the_start() -> None:
    sun = Sun()
    under_voltage = counters(throttled_now=1)
    assert gate(sun, [under_voltage], under_voltage).wait(sun.told.append) == 0.0
    assert gate(sun, [counters(throttled_now=3), under_voltage], under_voltage).wait(sun.told.append) == STEP_S
    assert gate(sun, [counters(throttled_now=1), under_voltage], counters()).wait(sun.told.append) == MOST_S


def test_one_gate_is_passed_again_and_again() -> None:
    sun = Sun()
    often = gate(sun, celsius(60.0, 50.0, 60.0, 60.0, 50.0), counters(temperature_c=50.0))
    assert [often.wait(sun.told.append) for _ in range(3)] == [0.5, 1.0, 0.0]
