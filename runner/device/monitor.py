"""Watch the machine and a worker from outside while the worker runs: a snapshot a second, in the parent process."""

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.device.counters import ROOT, ProcessCounters, process_counters, sensors
from runner.device.ticker import Ticker
from runner.device.window import ProcessWindow, Window, delta, process_delta
from runner.process import Counters

PERIOD_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One snapshot of the machine and of the process that is watched."""

    machine: Counters
    process: ProcessCounters | None
    """None where no process is watched."""


class Monitor:
    """Takes samples from entering to leaving: one at once, one a period, one at last.

    A sample took 0.2 to 0.8 ms of CPU time on a 2-core x86 virtual machine, a call of vcgencmd left out.
    """

    def __init__(
        self, pid: int | None = None, *, cpus: tuple[int, ...] = (), period_s: float = PERIOD_S, root: Path = ROOT
    ) -> None:
        """Watch a process, if one is given, and of the CPUs those that it runs on, or all."""
        self._pid = pid
        self._root = root
        self._sensors = sensors(root, cpus)
        self._samples: list[Sample] = []
        self._ticker = Ticker(self._take, period_s)

    def __enter__(self) -> Self:
        self._take()
        self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ticker.stop()
        self._take()

    @property
    def samples(self) -> tuple[Sample, ...]:
        """What was taken so far, in order."""
        return tuple(self._samples)

    def between(self, start_ns: int, end_ns: int) -> tuple[Sample, ...]:
        """Return the samples around a stretch of the monotonic clock: those in it, the last before, the first after."""
        samples = self.samples
        times = [sample.machine.monotonic_ns for sample in samples]
        first = max((place for place, time_ns in enumerate(times) if time_ns <= start_ns), default=0)
        last = min((place for place, time_ns in enumerate(times) if time_ns >= end_ns), default=len(samples) - 1)
        return samples[first : last + 1]

    def _take(self) -> None:
        process = None if self._pid is None else process_counters(self._pid, self._root)
        self._samples.append(Sample(machine=self._sensors.read(), process=process))


def machine_window(samples: tuple[Sample, ...]) -> Window:
    """Return what happened to the machine from the first sample to the last. Raises IndexError without samples."""
    seen = [sample.machine for sample in samples]
    return delta(seen[0], seen[-1], seen[1:-1])


def process_window(samples: tuple[Sample, ...]) -> ProcessWindow | None:
    """Return what happened to the process while it could be read, or None where it could not, or once only."""
    # The last samples may have come when the process was gone already.
    seen = [sample.process for sample in samples if sample.process and sample.process.cpu_time_ns is not None]
    return process_delta(seen[0], seen[-1], seen[1:-1]) if len(seen) > 1 else None
