"""Watch the machine from outside while a worker runs: a snapshot a second, in the parent process."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from runner.device.counters import ROOT, Sensors, sensors
from runner.device.gpu import GpuSensor, find_gpu
from runner.device.ticker import Ticker
from runner.process import Counters

PERIOD_S = 1.0


class Monitor:
    """Takes samples from entering to leaving: one at once, one a period, one at last.

    A sample took 0.2 to 0.8 ms of CPU time on a 2-core x86 virtual machine, a call of vcgencmd left out; what NVML
    takes for its part is not in that.
    """

    def __init__(self, *, period_s: float = PERIOD_S, root: Path = ROOT) -> None:
        self._root = root
        self._cpus: Sequence[int] = ()
        self._on_gpu = False
        self._sensors: Sensors | None = None
        self._samples: list[Counters] = []
        self._ticker = Ticker(self._take, period_s)

    def on(self, cpus: Sequence[int], *, gpu: bool = False) -> Self:
        """Of what each CPU tells, watch that of these alone: those that a worker is pinned to; none are all.

        With `gpu` the GPU is watched too, where it can be.
        """
        self._cpus, self._on_gpu = cpus, gpu
        return self

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
    def samples(self) -> tuple[Counters, ...]:
        """What was taken so far, in order."""
        return tuple(self._samples)

    def between(self, start_ns: int, end_ns: int) -> tuple[Counters, ...]:
        """Return the samples around a stretch of the monotonic clock: those in it, the last before, the first after."""
        samples = self.samples
        times = [sample.monotonic_ns for sample in samples]
        first = max((place for place, time_ns in enumerate(times) if time_ns <= start_ns), default=0)
        last = min((place for place, time_ns in enumerate(times) if time_ns >= end_ns), default=len(samples) - 1)
        return samples[first : last + 1]

    def _take(self) -> None:
        self._sensors = self._sensors or sensors(self._root, self._cpus, self._gpu())
        self._samples.append(self._sensors.read())

    def _gpu(self) -> GpuSensor | None:
        found = find_gpu(self._root) if self._on_gpu else None
        return found if isinstance(found, GpuSensor) else None
