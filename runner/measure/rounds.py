"""Time artifacts in rounds, a fresh process of each in every one, so that slow drift meets all of them alike."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from runner.device import others
from runner.device.counters import sensors
from runner.device.monitor import Monitor
from runner.device.others import Snapshot
from runner.errors import EdgepackError, MeasurementError, RuntimeUnavailable
from runner.manifest import Precision
from runner.measure.cooling import Gate
from runner.measure.latency import Plan, Timings, changed_answers, precise
from runner.process import Counters, Process, Usage
from runner.progress import Advance
from runner.reason import Reason
from runner.report import Scenario, Stopped
from runner.worker.order import Job, Timing
from runner.workers import WORKERS, Workers

MOST_FAILURES = 3
"""After so many worker processes of one artifact have failed, no more of it are started."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Instruments:
    """What runs the workers, and what looks at the machine meanwhile."""

    workers: Workers
    watch: Callable[[], Monitor] = Monitor
    others: Callable[[], Snapshot | None] = others.snapshot
    """Looks at the machine's other processes."""
    gate: Gate


def instruments(workers: Workers = WORKERS) -> Instruments:
    """Return those of this machine, with its temperature of now as the one to come back to."""
    read = sensors().read
    return Instruments(workers=workers, gate=Gate(read=read, start=read()))


@dataclass(kw_only=True, slots=True)
class Course:
    """What has been timed of one artifact in one scenario so far: it grows, so that Ctrl-C loses nothing."""

    name: str
    job: Job
    scenario: Scenario
    answers: NDArray[np.float32]
    """What the artifact said to every sample: what it says while it is timed has to be the same."""
    precision: Precision = "fp32"
    """Of its arithmetic, which says how much rounding may move its answers."""
    slowdown: float = 0.0
    """By what share each call is made longer, to see whether that is found."""
    processes: list[Process] = field(default_factory=list)
    failures: list[EdgepackError] = field(default_factory=list)
    changed: Reason | None = None
    stopped: Stopped | None = None

    def timings(self) -> Timings:
        """Return the record as it stands; what has not come to an end was interrupted."""
        return Timings(
            scenario=self.scenario,
            processes=tuple(self.processes),
            failures=tuple(failure.what for failure in self.failures),
            advice=next((failure.advice for failure in self.failures), ""),
            stopped=self.stopped or "interrupted",
        )


def time_in_rounds(
    courses: Sequence[Course],
    plan: Plan,
    seed: int,
    instruments: Instruments,
    advance: Advance,
    round_over: Callable[[], None] = lambda: None,
) -> None:
    """Fill in the courses, until each is precise enough, or has as many processes as planned.

    What a process was lost in is made up for by more rounds, until a course is given up. `round_over` is called after
    every round.
    """
    most = plan.processes + MOST_FAILURES - 1
    for turn in range(most):
        chance = random.Random(f"{seed}/{turn}")  # noqa: S311 - no secret
        drawn = chance.getrandbits(32)
        for course in _drawn(courses, chance):
            if course.stopped is None:
                timing = Timing(
                    warmup_s=plan.warmup_s,
                    timed_s=plan.timed_s,
                    seed=drawn,
                    streams=course.scenario.streams,
                    slowdown=course.slowdown,
                    least_samples=plan.least_samples,
                )
                time_once(course, turn, timing, instruments, advance)
            advance(int(turn < plan.processes), course.name)
        going = [course for course in courses if course.stopped is None]
        whole = _whole_rounds(courses)
        for course in going:
            done = len(course.processes) if plan.until_precise else whole
            course.stopped = _end(course, plan, last=done >= plan.processes or turn + 1 == most)
        if going:
            round_over()


def _drawn(courses: Sequence[Course], chance: random.Random) -> list[Course]:
    """Draw an order in which those of one artifact and scenario, which make a block of two bundles, are neighbours."""
    groups = dict[tuple[str, Scenario], list[Course]]()
    for course in courses:
        groups.setdefault((course.name, course.scenario), []).append(course)
    drawn = chance.sample(list(groups.values()), len(groups))
    return [course for group in drawn for course in chance.sample(group, len(group))]


def time_once(course: Course, turn: int, timing: Timing, instruments: Instruments, advance: Advance) -> None:
    """Start one worker process, and note what it measured, or what became of it."""
    job, waited_s = course.job, instruments.gate.wait(lambda what: advance(0, what))
    try:
        # Not at the beginning of the timed window: to look at all processes takes milliseconds of a CPU.
        seen = [instruments.others()]
        with instruments.watch().on(job.cpus, gpu=job.options.device == "cuda") as monitor:
            timed = instruments.workers.time(
                job, timing, lambda begins: None if begins else seen.append(instruments.others())
            )
    except (MeasurementError, RuntimeUnavailable) as error:
        course.failures.append(error)
        return
    course.processes.append(
        replace(
            timed.process,
            turn=turn,
            machine=_seen(monitor, timed.process.usage),
            others=others.between(seen[0], seen[-1]),
            waited_s=waited_s,
        )
    )
    reached = [range(index * job.batch, (index + 1) * job.batch) for index in timed.batches]
    changed = changed_answers(timed.logits, course.answers[np.asarray(reached, np.int64)], course.precision)
    course.changed = course.changed or changed


def _seen(monitor: Monitor, usage: Usage | None) -> tuple[Counters, ...]:
    return monitor.between(usage.began_ns, usage.ended_ns) if usage else monitor.samples


def _whole_rounds(courses: Sequence[Course]) -> int:
    """Return in how many rounds no course lost a process, but for those that were given up."""
    turns = [{process.turn for process in each.processes} for each in courses if len(each.failures) < MOST_FAILURES]
    return len(set.intersection(*turns)) if turns else 0


def _end(course: Course, plan: Plan, *, last: bool) -> Stopped | None:
    """Return why a course ends here, if it does. What it says of another artifact is never a reason."""
    if len(course.failures) >= MOST_FAILURES:
        return "failures"
    if plan.until_precise and precise(course.processes):
        return "precision"
    return "budget" if last else None
