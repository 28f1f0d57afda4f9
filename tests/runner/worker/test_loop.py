"""The timed loop: what it costs, when it ends, what it keeps, and how several run at once."""

import threading
import time
from collections.abc import Callable
from itertools import count

import numpy as np
import pytest

from runner.process import Harness
from runner.worker.loop import (
    MOST_NS,
    Inputs,
    Logits,
    Phase,
    Run,
    calls_per_sample,
    in_time_order,
    measure_harness,
    slowed,
    time_loop,
    time_streams,
)
from tests.runner.worker.clocks import FakeClock

INPUTS = [np.full((1, 1), value, np.float32) for value in range(3)]
FINE = Harness(resolution_ns=50, overhead_ns=100.0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """Put a clock of the test's own in the place of the machine's."""
    found = FakeClock()
    monkeypatch.setattr(time, "perf_counter_ns", found)
    return found


def taking(clock: FakeClock, nanoseconds: int) -> Run:
    """Return a call that takes so long, and answers with its input."""

    def run(inputs: Inputs) -> Logits:
        clock.pass_by(nanoseconds)
        return inputs

    return run


def test_the_harness_is_the_clocks_least_step_and_an_empty_call(clock: FakeClock) -> None:
    assert measure_harness() == Harness(resolution_ns=50, overhead_ns=50.0)


@pytest.mark.parametrize("tick_ns", [10_000, 15_625_000])
def test_a_clock_that_ticks_seldom_is_found_to(clock: FakeClock, tick_ns: int) -> None:
    clock.tick_ns, clock.reading_ns = tick_ns, 1_000
    found = measure_harness()
    assert (found.resolution_ns, found.overhead_ns) == (tick_ns, 0.0)


def test_the_real_clock_has_a_step_and_a_call_that_does_nothing_takes_time() -> None:
    found = measure_harness()
    assert 0 < found.resolution_ns < 1_000_000
    assert found.overhead_ns > 0


@pytest.mark.parametrize(
    ("typical_ns", "harness", "calls"),
    [
        (10_000, FINE, 1),
        (9_999, FINE, 2),
        (1_000, FINE, 10),
        (60, FINE, 167),
        (100_000, Harness(resolution_ns=10_000, overhead_ns=0.0), 10),
        (1_000_000, Harness(resolution_ns=10_000, overhead_ns=0.0), 1),
    ],
)
def test_so_many_calls_make_a_sample_that_the_harness_is_a_hundredth(
    typical_ns: int, harness: Harness, calls: int
) -> None:
    assert calls_per_sample([typical_ns, 50 * typical_ns, typical_ns], harness) == calls


def test_calls_that_end_before_the_clock_ticks_are_told_by_their_mean() -> None:
    # Calls of 2,500 ns by a clock of 10 us: three of four take nothing, and 400 fill a hundred ticks.
    coarse = Harness(resolution_ns=10_000, overhead_ns=0.0)
    assert calls_per_sample([0, 0, 0, 10_000] * 10, coarse) == 400


def test_several_calls_in_a_sample_are_told_as_their_mean(clock: FakeClock) -> None:
    clock.tick_ns = 10_000
    single = time_loop(taking(clock, 2_450), INPUTS, Phase(seconds=0, least=200)).samples_ns
    assert set(single) == {0, 10_000}
    calls = calls_per_sample(single, measure_harness())
    assert 350 <= calls <= 450
    found = time_loop(taking(clock, 2_450), INPUTS, Phase(seconds=0, least=20, calls=calls)).samples_ns
    assert all(2_400 < sample < 2_500 for sample in found)


def test_a_phase_goes_on_for_its_time_and_for_its_least_samples(clock: FakeClock) -> None:
    run = taking(clock, 950)  # a reading within the sample makes it 1,000, one between two of them 1,050
    assert list(time_loop(run, INPUTS, Phase(seconds=0, least=7)).samples_ns) == [1_000] * 7
    assert len(time_loop(run, INPUTS, Phase(seconds=1050e-9 * 9, least=7)).samples_ns) == 9


def test_a_phase_ends_after_a_minute_with_fewer_samples(clock: FakeClock) -> None:
    found = time_loop(taking(clock, MOST_NS // 4), INPUTS, Phase(seconds=0, least=100))
    assert len(found.samples_ns) == 4


def test_the_inputs_take_turns_and_the_last_answer_to_each_is_kept(clock: FakeClock) -> None:
    number = count()
    seen: list[float] = []

    def run(inputs: Inputs) -> Logits:
        seen.append(float(inputs[0, 0]))
        return np.full((1, 1), next(number), np.float32)

    found = time_loop(run, INPUTS, Phase(seconds=0, least=5))
    assert seen == [0, 1, 2, 0, 1]
    assert [float(each[0, 0]) for each in found.outputs] == [3, 4, 2]
    assert len(time_loop(run, INPUTS, Phase(seconds=0, least=2)).outputs) == 2


def pausing(seconds: float, name: float, threads: set[int]) -> Run:
    """Return a call that waits, notes its thread, and answers with its name."""

    def run(inputs: Inputs) -> Logits:
        threads.add(threading.get_ident())
        time.sleep(seconds)
        return np.full((1, 1), name, np.float32)

    return run


def test_streams_run_in_threads_of_their_own_and_all_their_samples_are_kept() -> None:
    threads: set[int] = set()
    runs = [pausing(0.004, 1.0, threads), pausing(0.0, 2.0, threads), pausing(0.002, 3.0, threads)]
    found = time_streams(runs, INPUTS, Phase(seconds=0, least=5))
    assert [len(each.samples_ns) for each in found] == [5] * 3
    assert len(in_time_order(found)) == 15
    assert len(threads) == 3
    assert threading.get_ident() not in threads
    # The slowest ends last, and stands first nevertheless.
    assert [[float(output[0, 0]) for output in each.outputs] for each in found] == [[1.0] * 3, [2.0] * 3, [3.0] * 3]


def test_streams_run_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def run(inputs: Inputs) -> Logits:
        together.wait()
        return inputs

    assert len(in_time_order(time_streams([run] * 3, INPUTS, Phase(seconds=0, least=4)))) == 12


def test_the_samples_of_streams_stand_in_the_order_of_time() -> None:
    threads: set[int] = set()
    streams = time_streams([pausing(0.03, 1.0, threads), pausing(0.0, 2.0, threads)], INPUTS, Phase(seconds=0, least=3))
    found = in_time_order(streams)
    assert [sample > 30_000_000 for sample in found[-3:]] == [True] * 3
    assert all(sample < 30_000_000 for sample in found[:3])


def test_one_stream_runs_in_this_thread() -> None:
    threads: set[int] = set()
    time_streams([pausing(0.0, 1.0, threads)], INPUTS, Phase(seconds=0, least=3))
    assert threads == {threading.get_ident()}


def test_what_one_stream_raises_reaches_the_caller() -> None:
    def run(inputs: Inputs) -> Logits:
        raise ValueError("the second stream fails")

    with pytest.raises(ValueError, match="the second stream fails"):
        time_streams([pausing(0.0, 1.0, set()), run], INPUTS, Phase(seconds=0, least=3))


def elapsed(clock: FakeClock, call: Callable[[], object]) -> int:
    """Return for how long a call went on."""
    began = clock.now_ns
    call()
    return clock.now_ns - began


@pytest.mark.parametrize("share", [0.03, 0.05, 0.5])
def test_a_call_that_is_slowed_takes_so_much_longer(clock: FakeClock, share: float) -> None:
    clock.reading_ns = 1
    run = taking(clock, 1_000_000)
    took = elapsed(clock, lambda: slowed(run, share)(INPUTS[2]))
    assert took == pytest.approx(1_000_000 * (1 + share), abs=5)
    assert slowed(run, share)(INPUTS[2]) is INPUTS[2]


def test_a_call_that_is_not_slowed_is_the_call_itself(clock: FakeClock) -> None:
    run = taking(clock, 1_000)
    assert slowed(run, 0.0) is run
