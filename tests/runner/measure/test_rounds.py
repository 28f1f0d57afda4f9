"""Rounds of fresh processes: who runs when, when a course ends and why, and what is kept of the machine."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.arrays import ArrayLocation
from runner.device import others
from runner.device.monitor import Monitor
from runner.device.others import Snapshot, Spent
from runner.errors import MeasurementError
from runner.measure.cooling import Gate
from runner.measure.latency import Plan
from runner.measure.rounds import Course, Instruments, instruments, time_in_rounds
from runner.process import Other, Usage
from runner.report import Scenario
from runner.runtimes import Options
from runner.worker.order import Job, Timing
from runner.workers import Timed, Workers, ignore_window
from tests import networks
from tests.fakes import FakeWorkers, Script, calm, counters, fake_process, quiet

SAMPLES = 40
LOGITS = np.eye(3, dtype=np.float32)[np.arange(SAMPLES) % 3]
STEADY = (1_000_000,)
SCATTERED = (1_000_000, 1_100_000, 900_000)
BRIEF_S = 0.005


def course(name: str, scenario: Scenario = Scenario(threads=1)) -> Course:  # noqa: B008 - frozen
    """Return a course that has not begun."""
    job = Job(
        file=Path(name),
        format="onnx",
        options=Options(threads=scenario.threads),
        inputs=ArrayLocation(path=Path("inputs.bin"), offset=0, shape=(SAMPLES, 1, 8, 8), dtype="|u1"),
        preprocess=networks.PREPROCESS,
        batch=scenario.batch,
    )
    return Course(name=name, job=job, scenario=scenario, answers=LOGITS)


def workers(**medians_ns: Sequence[int]) -> FakeWorkers:
    """Return workers that take so long with each course."""
    return FakeWorkers({name: Script(logits=LOGITS, medians_ns=each) for name, each in medians_ns.items()})


def time_all(
    courses: Sequence[Course],
    fake: Workers,
    plan: Plan,
    *,
    round_over: Callable[[], None] = lambda: None,
    seed: int = 0,
) -> None:
    """Time the courses on a machine without sensors."""
    tools = Instruments(workers=fake, watch=lambda: Monitor(root=Path("/nowhere")), gate=calm())
    time_in_rounds(courses, plan, seed, tools, lambda *_, **__: None, round_over)


@pytest.mark.parametrize(
    ("medians_ns", "plan", "processes", "stopped"),
    [
        (STEADY, Plan(processes=20, warmup_s=0, timed_s=0), 8, "precision"),
        (STEADY, Plan(processes=8, warmup_s=0, timed_s=0), 8, "precision"),
        (STEADY, Plan(processes=7, warmup_s=0, timed_s=0), 7, "budget"),
        (STEADY, Plan(processes=5, warmup_s=0, timed_s=0), 5, "budget"),
        (STEADY, Plan(processes=12, warmup_s=0, timed_s=0, until_precise=False), 12, "budget"),
        (SCATTERED, Plan(processes=12, warmup_s=0, timed_s=0), 12, "budget"),
        # Half the width of the least to the largest is 1 % of the median, and then just more.
        ((1_000_000, 1_010_000, 990_000), Plan(processes=20, warmup_s=0, timed_s=0), 8, "precision"),
        ((1_000_000, 1_010_100, 989_900), Plan(processes=10, warmup_s=0, timed_s=0), 10, "budget"),
    ],
)
def test_a_course_ends_when_it_is_precise_from_eight_processes_on_or_with_its_budget(
    medians_ns: Sequence[int], plan: Plan, processes: int, stopped: str
) -> None:
    one = course("a")
    time_all([one], workers(a=medians_ns), plan)
    assert (len(one.processes), one.stopped) == (processes, stopped)
    assert one.timings().stopped == stopped


def test_a_course_ends_after_three_failures_and_the_others_go_on() -> None:
    dies = {number: MeasurementError(f"death {number}") for number in (1, 3, 4, 6)}
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies=dies), "b": Script(logits=LOGITS, medians_ns=SCATTERED)})
    frail, sturdy = course("a"), course("b")
    time_all([frail, sturdy], fake, Plan(processes=10, warmup_s=0, timed_s=0))
    assert (len(frail.processes), frail.timings().failures, frail.stopped) == (
        2,
        ("death 1", "death 3", "death 4"),
        "failures",
    )
    assert (len(sturdy.processes), sturdy.failures, sturdy.stopped) == (10, [], "budget")
    assert [process.turn for process in frail.processes] == [0, 2]


def test_a_process_that_is_lost_is_made_up_for_by_another_round() -> None:
    dies = {number: MeasurementError(f"death {number}") for number in (1, 5)}
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies=dies), "b": Script(logits=LOGITS, medians_ns=SCATTERED)})
    frail, sturdy = course("a"), course("b")
    steps: list[int] = []
    tools = Instruments(workers=fake, watch=lambda: Monitor(root=Path("/nowhere")), gate=calm())
    plan = Plan(processes=5, warmup_s=0, timed_s=0)
    time_in_rounds([frail, sturdy], plan, 0, tools, lambda steps_=1, note="": steps.append(steps_))
    assert [process.turn for process in frail.processes] == [0, 2, 3, 4, 6]
    assert (frail.timings().failures, frail.stopped) == (("death 1", "death 5"), "budget")
    assert ([process.turn for process in sturdy.processes], sturdy.stopped) == ([*range(5)], "budget")
    assert sum(steps) == 10


def test_of_courses_that_are_judged_beside_each_other_all_make_up_for_a_lost_round() -> None:
    dies = {2: MeasurementError("a death")}
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies=dies), "b": Script(logits=LOGITS)})
    both = [course("a"), course("b")]
    time_all(both, fake, Plan(processes=8, warmup_s=0, timed_s=0, until_precise=False))
    assert [[process.turn for process in each.processes] for each in both] == [[0, 1, 3, 4, 5, 6, 7, 8], [*range(9)]]
    assert [each.stopped for each in both] == ["budget", "budget"]


def test_a_course_that_was_given_up_holds_up_no_other() -> None:
    dies = {number: MeasurementError("a death") for number in range(3)}
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies=dies), "b": Script(logits=LOGITS)})
    both = [course("a"), course("b")]
    time_all(both, fake, Plan(processes=8, warmup_s=0, timed_s=0, until_precise=False))
    assert [(len(each.processes), each.stopped) for each in both] == [(0, "failures"), (8, "budget")]


def test_rounds_come_to_an_end_however_the_losses_fall() -> None:
    lost = {"a": (0, 1), "b": (2, 3)}
    scripts = {
        name: Script(logits=LOGITS, dies={number: MeasurementError("a death") for number in numbers})
        for name, numbers in lost.items()
    }
    both = [course("a"), course("b")]
    time_all(both, FakeWorkers(scripts), Plan(processes=8, warmup_s=0, timed_s=0, until_precise=False))
    assert [(len(each.processes), each.stopped) for each in both] == [(8, "budget"), (8, "budget")]


def test_a_course_that_is_interrupted_says_so_and_keeps_its_processes() -> None:
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies={3: KeyboardInterrupt()})})
    one = course("a")
    with pytest.raises(KeyboardInterrupt):
        time_all([one], fake, Plan(processes=10, warmup_s=0, timed_s=0))
    assert (len(one.timings().processes), one.timings().stopped, one.failures) == (3, "interrupted", [])


def test_every_round_has_one_process_of_each_course_in_an_order_of_its_own() -> None:
    fake = workers(a=SCATTERED, b=SCATTERED, c=SCATTERED)
    courses = [course(name) for name in "abc"]
    time_all(courses, fake, Plan(processes=12, warmup_s=0.5, timed_s=2))
    names = [job.file.name for job, _ in fake.timed]
    rounds = ["".join(names[first : first + 3]) for first in range(0, 36, 3)]
    assert {"".join(sorted(each)) for each in rounds} == {"abc"}
    assert len(set(rounds)) > 2
    assert [[process.turn for process in each.processes] for each in courses] == [[*range(12)]] * 3
    seeds = [timing.seed for _, timing in fake.timed]
    assert [len(set(seeds[first : first + 3])) for first in range(0, 36, 3)] == [1] * 12
    assert len(set(seeds)) == 12
    again = workers(a=SCATTERED, b=SCATTERED, c=SCATTERED)
    time_all([course(name) for name in "abc"], again, Plan(processes=12, warmup_s=0.5, timed_s=2))
    assert again.timed == fake.timed


def test_those_of_one_artifact_and_scenario_are_neighbours_in_every_round() -> None:
    fake = workers(a=SCATTERED, b=SCATTERED, c=SCATTERED)
    one, two = (Scenario(threads=threads) for threads in (1, 2))
    kinds = (("a", one), ("a", two), ("b", one), ("c", one))
    time_all([course(*kind) for _ in range(2) for kind in kinds], fake, Plan(processes=20, warmup_s=0, timed_s=0))
    timed = [(job.file.name, job.options.threads) for job, _ in fake.timed]
    assert timed[::2] == timed[1::2]
    rounds = [tuple(timed[first : first + 8 : 2]) for first in range(0, 160, 8)]
    assert {tuple(sorted(each)) for each in rounds} == {(("a", 1), ("a", 2), ("b", 1), ("c", 1))}
    assert len(set(rounds)) > 5


def test_a_course_that_is_precise_is_not_run_on_while_others_are() -> None:
    fake = workers(a=STEADY, b=SCATTERED)
    time_all([course("a"), course("b")], fake, Plan(processes=12, warmup_s=0, timed_s=0))
    names = [job.file.name for job, _ in fake.timed]
    assert (names.count("a"), names.count("b")) == (8, 12)
    assert names[16:] == ["b"] * 4


def test_it_is_told_whenever_a_round_is_over() -> None:
    fake = workers(a=STEADY, b=SCATTERED, c=STEADY)
    heard: list[int] = []
    courses = [course(name) for name in "abc"]
    plan = Plan(processes=12, warmup_s=0, timed_s=0)
    time_all(courses, fake, plan, round_over=lambda: heard.append(len(fake.timed)))
    assert heard == [3, 6, 9, 12, 15, 18, 21, 24, 25, 26, 27, 28]
    heard.clear()
    time_all([course("a")], fake, plan, round_over=lambda: heard.append(len(fake.timed)))
    assert heard == [*range(29, 37)]  # and nothing of the four rounds in which nobody runs


def test_the_scenario_and_the_slowdown_reach_the_worker() -> None:
    slow = replace(course("a", Scenario(threads=3, batch=4, streams=2)), slowdown=0.05)
    fake = workers(a=STEADY)
    time_all([slow], fake, Plan(processes=1, warmup_s=0.5, timed_s=2, least_samples=7))
    ((job, timing),) = fake.timed
    assert (job.options.threads, job.batch) == (3, 4)
    assert timing == Timing(warmup_s=0.5, timed_s=2, seed=timing.seed, streams=2, slowdown=0.05, least_samples=7)


def test_the_wait_for_a_machine_that_is_hot_is_kept_with_the_process() -> None:
    slept: list[float] = []
    degrees = chain((50.0, 57.0, 56.0, 50.0), repeat(80.0))
    gate = Gate(
        read=lambda: counters(temperature_c=next(degrees)),
        start=counters(temperature_c=50.0),
        clock=lambda: sum(slept),
        sleep=slept.append,
    )
    one = course("a")
    tools = Instruments(workers=workers(a=STEADY), watch=lambda: Monitor(root=Path("/nowhere")), gate=gate)
    told: list[tuple[int, str]] = []
    plan = Plan(processes=3, warmup_s=0, timed_s=0)
    time_in_rounds([one], plan, 0, tools, lambda steps=1, note="": told.append((steps, note)))
    assert [process.waited_s for process in one.processes] == [0.0, 1.0, 30.0]
    assert told[:5] == [
        (1, "a"),
        (0, "cools down from 57 to 55 °C"),
        (0, "cools down from 56 to 55 °C"),
        (1, "a"),
        (0, "cools down from 80 to 55 °C"),
    ]


@dataclass
class WorkersInTime:
    """Take some real time, of which the timed window is the middle."""

    def answer(self, *_: object) -> None:
        """Is not asked for."""

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Wait before, in and after the window."""
        borders = []
        for _ in range(3):
            time.sleep(10 * BRIEF_S)
            borders.append(time.monotonic_ns())
        usage = Usage(
            began_ns=borders[0], ended_ns=borders[1], major_faults=0, involuntary_switches=0, cpu_ns=1, swap_bytes=None
        )
        process = replace(fake_process(1_000_000), usage=usage)
        return Timed(provider="FakeProvider", version="1.0", process=process, batches=(0,), logits=LOGITS[None, :1])


def test_of_the_machine_what_lies_around_the_timed_window_is_kept() -> None:
    one = course("a")
    tools = Instruments(workers=WorkersInTime(), watch=lambda: Monitor(period_s=BRIEF_S), gate=calm())  # type: ignore[arg-type]  # nobody asks it for answers
    time_in_rounds([one], Plan(processes=1, warmup_s=0, timed_s=0), 0, tools, lambda *_, **__: None)
    (process,) = one.processes
    assert process.usage is not None
    times = [each.monotonic_ns for each in process.machine]
    assert times == sorted(times)
    assert times[0] <= process.usage.began_ns < times[1]
    assert times[-2] < process.usage.ended_ns <= times[-1]


def test_this_machines_instruments_read_its_sensors() -> None:
    found = instruments(workers(a=STEADY))
    assert found.gate.start.monotonic_ns <= found.gate.read().monotonic_ns
    one = course("a")
    time_in_rounds([one], Plan(processes=1, warmup_s=0, timed_s=0), 0, found, lambda *_, **__: None)
    assert len(one.processes[0].machine) == 2
    assert one.processes[0].machine[0].total_ticks is not None


def test_answers_that_change_in_one_process_are_held_against_the_whole_course() -> None:
    script = Script(logits=LOGITS, medians_ns=STEADY)
    one = course("a")
    codes = []
    for said in (None, LOGITS[:, ::-1].copy(), None):
        script.timed_logits, one.stopped = said, None
        time_all([one], FakeWorkers({"a": script}), Plan(processes=1, warmup_s=0, timed_s=0))
        codes.append(one.changed.code if one.changed else None)
    assert codes == [None, "answers-changed", "answers-changed"]
    assert len(one.processes) == 3


@pytest.mark.parametrize("said", [LOGITS * np.float32(np.nan), LOGITS[:, :2]])
def test_nan_or_another_shape_while_it_is_timed_is_no_crash(said: NDArray[np.float32]) -> None:
    one = course("a")
    fake = FakeWorkers({"a": Script(logits=LOGITS, timed_logits=said)})
    time_all([one], fake, Plan(processes=1, warmup_s=0, timed_s=0))
    assert one.changed is not None
    assert one.changed.detail.endswith(": logits that are not finite, or of another shape")


def test_the_programs_that_ran_beside_a_process_are_kept_up_to_the_end_of_its_timed_window() -> None:
    def seen(at_s: float, cpu_s: float) -> Snapshot:
        return Snapshot(monotonic_ns=round(at_s * 1e9), spent={(7, 1.0): Spent(name="rsync", cpu_s=cpu_s)})

    looks = iter([seen(0, 10.0), seen(2, 11.0), seen(2, 11.0), seen(6, 11.0)])
    tools = replace(quiet(workers(a=STEADY)), others=lambda: next(looks))
    timed = course("a")
    time_in_rounds([timed], Plan(processes=2, warmup_s=0, timed_s=0), 0, tools, lambda *_, **__: None)
    assert [process.others for process in timed.processes] == [(Other(name="rsync", cpus=0.5),), ()]
    assert next(looks, None) is None


def test_a_process_that_died_before_its_window_has_nobody_beside_it() -> None:
    dies = {0: MeasurementError("the worker was ended by SIGSEGV")}
    fake = FakeWorkers({"a": Script(logits=LOGITS, dies=dies)})
    tools = replace(quiet(fake), others=others.snapshot)
    timed = course("a")
    time_in_rounds([timed], Plan(processes=1, warmup_s=0, timed_s=0), 0, tools, lambda *_, **__: None)
    assert (len(timed.processes), len(timed.failures)) == (1, 1)
