import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.device.monitor import Monitor
from runner.device.window import Window, delta
from tests.runner.device.trees import tree

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PERIOD_S = 0.01
LONGEST_S = 60.0


def window(monitor: Monitor) -> Window:
    """Return what happened from the first sample to the last."""
    samples = monitor.samples
    return delta(samples[0], samples[-1], samples[1:-1])


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LONGEST_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(PERIOD_S)


def board(root: Path, bits: str) -> Path:
    """Write a board's throttle bits as the kernel does: a reader never sees half of them."""
    tree(root, {f"{THROTTLED}.new": bits})
    (root / f"{THROTTLED}.new").replace(root / THROTTLED)
    return root


def test_a_throttle_bit_that_is_raised_in_mid_run_is_seen(tmp_path: Path) -> None:
    root = board(tmp_path, "0\n")
    with Monitor(root=root, period_s=PERIOD_S) as monitor:
        board(tmp_path, "40004\n")
        wait_until(lambda: monitor.samples[-1].throttled_now == 4)
        board(tmp_path, "40000\n")
        wait_until(lambda: monitor.samples[-1].throttled_now == 0)
    samples = monitor.samples
    assert (samples[0].throttled_now, samples[-1].throttled_now) == (0, 0)
    assert window(monitor).throttled == 4


def test_a_throttle_bit_between_two_samples_is_remembered_by_the_board(tmp_path: Path) -> None:
    with Monitor(root=board(tmp_path, "0\n"), period_s=LONGEST_S) as monitor:
        board(tmp_path, "10000\n")
    assert [sample.throttled_now for sample in monitor.samples] == [0, 0]
    assert window(monitor).throttled == 1


def test_a_board_that_falls_silent_in_mid_run_does_not_end_the_watch(tmp_path: Path) -> None:
    with Monitor(root=board(tmp_path, "1\n"), period_s=PERIOD_S) as monitor:
        (tmp_path / THROTTLED).unlink()
        wait_until(lambda: monitor.samples[-1].throttled_now is None)
    assert window(monitor).throttled == 1


def test_samples_come_in_order_first_and_last_at_the_ends(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    with Monitor(root=tmp_path, period_s=PERIOD_S) as monitor:
        wait_until(lambda: len(monitor.samples) >= 5)
        last_ns = time.monotonic_ns()
    times = [sample.monotonic_ns for sample in monitor.samples]
    assert times == sorted(times)
    assert before_ns < times[0]
    assert last_ns < times[-1]
    time.sleep(3 * PERIOD_S)
    assert len(monitor.samples) == len(times)


def test_the_samples_around_a_stretch_of_time_are_found(tmp_path: Path) -> None:
    with Monitor(root=tmp_path, period_s=PERIOD_S) as monitor:
        wait_until(lambda: len(monitor.samples) >= 6)
    samples = monitor.samples
    times = [sample.monotonic_ns for sample in samples]
    assert monitor.between(times[2] + 1, times[4] - 1) == samples[2:5]
    assert monitor.between(times[2], times[2]) == samples[2:3]
    assert monitor.between(0, 2**62) == samples


def test_a_worker_that_is_pinned_has_the_clock_of_its_own_cpus(tmp_path: Path) -> None:
    clock = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"
    root = tree(tmp_path, {clock.format(cpu): f"{khz}\n" for cpu, khz in enumerate((2_400_000, 2_400_000, 600_000))})
    seen = []
    for cpus in ((), (0, 1), (2,)):
        with Monitor(root=root, period_s=LONGEST_S).on(cpus) as monitor:
            pass
        seen.append([sample.frequency_mhz for sample in monitor.samples])
    assert seen == [[1800.0] * 2, [2400.0] * 2, [600.0] * 2]


def test_an_error_of_the_one_who_watches_ends_the_watch_and_goes_on(tmp_path: Path) -> None:
    monitor = Monitor(root=tmp_path, period_s=PERIOD_S)
    with pytest.raises(KeyboardInterrupt), monitor:
        raise KeyboardInterrupt
    count = len(monitor.samples)
    time.sleep(3 * PERIOD_S)
    assert len(monitor.samples) == count >= 2


def test_this_machine_is_watched() -> None:
    with Monitor(period_s=PERIOD_S) as monitor:
        wait_until(lambda: len(monitor.samples) >= 3)
    found = window(monitor)
    assert found.duration_ns > 0
    assert found.steal_fraction is None or 0 <= found.steal_fraction <= 1
