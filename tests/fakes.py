"""Stand-ins that keep the protocols of the real things, without a process or a clock."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner.device.monitor import Monitor
from runner.measure.cooling import Gate
from runner.measure.rounds import Instruments
from runner.operators import OperatorTime
from runner.process import Counters, Process
from runner.progress import Advance
from runner.worker.order import Job, Timing
from runner.worker.samples import rotation
from runner.workers import Answered, Timed, Workers, ignore_window


@dataclass(kw_only=True)
class Script:
    """What one artifact does in the hands of FakeWorkers."""

    logits: NDArray[np.float32]
    medians_ns: Sequence[int] = (1_000_000,)
    """Of one process after the other, and again from the start; an injected slow-down makes them longer."""
    refuses: BaseException | None = None
    """Raised instead of answers."""
    dies: Mapping[int, BaseException] = field(default_factory=dict)
    """Raised instead of times, by the number of the process, from 0."""
    operators: tuple[OperatorTime, ...] | BaseException = ()
    """Found by the profiler, or raised instead."""
    timed_logits: NDArray[np.float32] | None = None
    """What it says while it is timed, where this is not what it said before."""
    samples: int = 101


@dataclass
class FakeWorkers:
    """Does what the scripts say, by the name of the job's file."""

    scripts: Mapping[str, Script]
    answered: list[Job] = field(default_factory=list)
    timed: list[tuple[Job, Timing]] = field(default_factory=list)
    profiled: list[tuple[Job, int]] = field(default_factory=list)
    """With how many had been timed before."""

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the scripted logits."""
        self.answered.append(job)
        script = self.scripts[job.file.name]
        if script.refuses:
            raise script.refuses
        advance(len(script.logits))
        return Answered(provider="FakeProvider", version="1.0", logits=script.logits)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return scripted times."""
        number = sum(earlier.file == job.file for earlier, _ in self.timed)
        self.timed.append((job, timing))
        script = self.scripts[job.file.name]
        if number in script.dies:
            raise script.dies[number]
        window(True)
        window(False)
        median_ns = script.medians_ns[number % len(script.medians_ns)]
        batches = rotation(job, timing.seed)
        said = script.logits if script.timed_logits is None else script.timed_logits
        return Timed(
            provider="FakeProvider",
            version="1.0",
            process=fake_process(round(median_ns * (1 + timing.slowdown)), script.samples),
            batches=tuple(batches),
            logits=np.stack([said[index * job.batch : (index + 1) * job.batch] for index in batches]),
        )

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return scripted operators."""
        self.profiled.append((job, len(self.timed)))
        found = self.scripts[job.file.name].operators
        if isinstance(found, BaseException):
            raise found
        return found


def fake_process(median_ns: int, samples: int = 101) -> Process:
    """Return a process whose samples lie one nanosecond apart about `median_ns`; `samples` is odd."""
    return Process(
        import_ns=20_000_000,
        load_ns=3_000_000,
        first_ns=5 * median_ns,
        warmup_ns=(2 * median_ns,),
        samples_ns=tuple(median_ns + step for step in about_zero(samples)),
        imported_bytes=50_000_000,
        loaded_bytes=60_000_000,
        peak_bytes=70_000_000,
    )


def counters(
    *,
    monotonic_ns: int = 0,
    temperature_c: float | None = None,
    throttled_now: int | None = None,
    throttled_since_boot: int | None = None,
    heat_throttles: int | None = None,
    nr_throttled: int | None = None,
    steal_ticks: int | None = None,
    total_ticks: int | None = None,
) -> Counters:
    """Return what a machine says of itself that has only the sensors that are named."""
    return Counters(
        monotonic_ns=monotonic_ns,
        load_average=None,
        temperature_c=temperature_c,
        frequency_mhz=None,
        throttled_now=throttled_now,
        throttled_since_boot=throttled_since_boot,
        heat_throttles=heat_throttles,
        nr_throttled=nr_throttled,
        steal_ticks=steal_ticks,
        total_ticks=total_ticks,
    )


def calm() -> Gate:
    """Return a gate at which nobody waits."""
    return Gate(read=counters, start=counters())


def quiet(workers: Workers) -> Instruments:
    """Return instruments of a machine that tells nothing of itself."""
    return Instruments(workers=workers, watch=lambda: Monitor(root=Path("nowhere")), others=lambda: None, gate=calm())


def about_zero(count: int) -> tuple[int, ...]:
    """Return 0, 1, -1, 2, -2 …: an odd number of steps without a trend."""
    return tuple((index + 1) // 2 * (1 if index % 2 else -1) for index in range(count))


@dataclass
class RecordingProgress:
    """Remembers what was shown: the title, the total and how far it came of each task."""

    tasks: list[tuple[str, int, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Count the steps of a task."""
        done = 0

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps

        try:
            yield advance
        finally:
            self.tasks.append((title, total, done))

    def say(self, message: str) -> None:
        """Remember the line."""
        self.said.append(message)


@dataclass
class InterruptingProgress(RecordingProgress):
    """Interrupts the work, as Ctrl-C does, when so many steps are done."""

    after: int = 1

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Count the steps of a task, and end it before it is done."""
        done = 0
        with RecordingProgress.task(self, title, total) as count:

            def advance(steps: int = 1, note: str = "") -> None:
                nonlocal done
                count(steps, note)
                done += steps
                if done >= self.after:
                    raise KeyboardInterrupt

            yield advance
