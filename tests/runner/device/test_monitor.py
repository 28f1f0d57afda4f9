import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.device.monitor import Monitor, machine_window, process_window
from tests.runner.device.test_counters import process_files
from tests.runner.device.trees import tree

THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"
PERIOD_S = 0.01
LONGEST_S = 60.0


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
        wait_until(lambda: monitor.samples[-1].machine.throttled_now == 4)
        board(tmp_path, "40000\n")
        wait_until(lambda: monitor.samples[-1].machine.throttled_now == 0)
    samples = monitor.samples
    assert (samples[0].machine.throttled_now, samples[-1].machine.throttled_now) == (0, 0)
    assert machine_window(samples).throttled == 4


def test_a_throttle_bit_between_two_samples_is_remembered_by_the_board(tmp_path: Path) -> None:
    with Monitor(root=board(tmp_path, "0\n"), period_s=LONGEST_S) as monitor:
        board(tmp_path, "10000\n")
    assert [sample.machine.throttled_now for sample in monitor.samples] == [0, 0]
    assert machine_window(monitor.samples).throttled == 1


def test_a_board_that_falls_silent_in_mid_run_does_not_end_the_watch(tmp_path: Path) -> None:
    with Monitor(root=board(tmp_path, "1\n"), period_s=PERIOD_S) as monitor:
        (tmp_path / THROTTLED).unlink()
        wait_until(lambda: monitor.samples[-1].machine.throttled_now is None)
    assert machine_window(monitor.samples).throttled == 1


def test_samples_come_in_order_first_and_last_at_the_ends(tmp_path: Path) -> None:
    before_ns = time.monotonic_ns()
    with Monitor(root=tmp_path, period_s=PERIOD_S) as monitor:
        wait_until(lambda: len(monitor.samples) >= 5)
        last_ns = time.monotonic_ns()
    times = [sample.machine.monotonic_ns for sample in monitor.samples]
    assert times == sorted(times)
    assert before_ns < times[0]
    assert last_ns < times[-1]
    assert all(sample.process is None for sample in monitor.samples)
    time.sleep(3 * PERIOD_S)
    assert len(monitor.samples) == len(times)


def test_the_samples_around_a_stretch_of_time_are_found(tmp_path: Path) -> None:
    with Monitor(root=tmp_path, period_s=PERIOD_S) as monitor:
        wait_until(lambda: len(monitor.samples) >= 6)
    samples = monitor.samples
    times = [sample.machine.monotonic_ns for sample in samples]
    assert monitor.between(times[2] + 1, times[4] - 1) == samples[2:5]
    assert monitor.between(times[2], times[2]) == samples[2:3]
    assert monitor.between(0, 2**62) == samples


def test_a_process_is_watched_to_its_end(tmp_path: Path) -> None:
    root = tree(tmp_path, process_files(major=6))
    with Monitor(42, root=root, period_s=PERIOD_S) as monitor:
        (tree(tmp_path, {"proc/42/new": process_files(major=9)["proc/42/stat"]}) / "proc/42/new").replace(
            root / "proc/42/stat"
        )
        wait_until(lambda: (found := monitor.samples[-1].process) is not None and found.major_faults == 9)
        (root / "proc/42/stat").unlink()
        wait_until(lambda: (found := monitor.samples[-1].process) is not None and found.major_faults is None)
    found = process_window(monitor.samples)
    assert found is not None
    assert (found.major_faults, found.involuntary_switches) == (3, 0)


def test_a_process_that_nobody_saw_twice_has_no_window(tmp_path: Path) -> None:
    with Monitor(42, root=tmp_path, period_s=LONGEST_S) as monitor:
        pass
    assert len(monitor.samples) == 2
    assert process_window(monitor.samples) is None


def test_an_error_of_the_one_who_watches_ends_the_watch_and_goes_on(tmp_path: Path) -> None:
    monitor = Monitor(root=tmp_path, period_s=PERIOD_S)
    with pytest.raises(KeyboardInterrupt), monitor:
        raise KeyboardInterrupt
    count = len(monitor.samples)
    time.sleep(3 * PERIOD_S)
    assert len(monitor.samples) == count >= 2


def test_this_process_is_watched_on_this_machine() -> None:
    with Monitor(os.getpid(), period_s=PERIOD_S) as monitor:
        end = time.process_time() + 0.3
        while time.process_time() < end:
            pass
    machine, process = machine_window(monitor.samples), process_window(monitor.samples)
    assert process is not None
    assert process.cpu_time_ns is not None
    assert process.cpu_time_ns >= 200_000_000
    assert machine.duration_ns >= 300_000_000
    assert machine.steal_fraction is None or 0 <= machine.steal_fraction <= 1
