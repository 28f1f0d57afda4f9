from dataclasses import replace

import pytest

from runner.device.window import delta
from runner.process import Counters

START = Counters(
    monotonic_ns=1_000,
    load_average=0.5,
    temperature_c=50.0,
    frequency_mhz=2400.0,
    throttled_now=0,
    throttled_since_boot=0,
    heat_throttles=3,
    nr_throttled=10,
    steal_ticks=100,
    total_ticks=10_000,
)


def test_a_window_has_what_grew_and_the_extremes_between() -> None:
    middle = replace(START, temperature_c=71.0, frequency_mhz=1500.0)
    end = replace(
        START, monotonic_ns=5_001_000, temperature_c=58.0, nr_throttled=12, steal_ticks=110, total_ticks=10_400
    )
    found = delta(START, end, [middle])
    assert (found.duration_ns, found.hottest_c, found.warming_c) == (5_000_000, 71.0, 8.0)
    assert (found.slowest_mhz, found.fastest_mhz) == (1500.0, 2400.0)
    assert (found.nr_throttled, found.heat_throttles, found.throttled, found.steal_fraction) == (2, 0, 0, 0.025)


def test_without_the_snapshots_between_the_extremes_are_those_of_the_ends() -> None:
    found = delta(START, replace(START, temperature_c=58.0, frequency_mhz=2300.0))
    assert (found.hottest_c, found.slowest_mhz, found.fastest_mhz) == (58.0, 2300.0, 2400.0)


@pytest.mark.parametrize(
    ("seen", "bits"),
    [
        ([(0, 0), (0, 0), (0, 0)], 0),
        ([(0, 0), (4, 4), (0, 4)], 4),
        # Raised and gone between two snapshots: only the memory of it is left.
        ([(0, 1), (0, 1), (0, 5)], 4),
        # Remembered from before: it says nothing of this window.
        ([(0, 5), (0, 5), (0, 5)], 0),
        ([(1, 5), (0, 5), (0, 5)], 1),
        ([(None, None), (0, 4), (0, 6)], 2),
        ([(None, None), (None, None), (None, None)], None),
    ],
)
def test_throttling_within_a_window_is_seen_or_remembered(
    seen: list[tuple[int | None, int | None]], bits: int | None
) -> None:
    first, middle, last = (replace(START, throttled_now=now, throttled_since_boot=since) for now, since in seen)
    assert delta(first, last, [middle]).throttled == bits


def test_a_counter_that_is_missing_or_ran_backwards_has_no_growth() -> None:
    found = delta(START, replace(START, nr_throttled=9, heat_throttles=None, temperature_c=None, steal_ticks=90))
    assert (found.nr_throttled, found.heat_throttles, found.warming_c, found.steal_fraction) == (None,) * 4
    assert found.hottest_c == 50.0


def test_no_time_has_no_share_of_stolen_time() -> None:
    assert delta(START, START).steal_fraction is None
