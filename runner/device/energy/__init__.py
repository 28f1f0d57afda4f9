"""Energy over a window, where the machine has a sensor. For a pass of its own: a thread asks the sensor meanwhile."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from runner.device.energy import ina3221, nvml, pmic, rapl
from runner.device.energy.sensor import Reading, Sensor
from runner.device.ticker import Ticker


@dataclass(frozen=True, kw_only=True, slots=True)
class Energy:
    """What a meter says of one window."""

    meter: str
    scope: str
    """What was measured, in words."""
    duration_ns: int
    joules: float | None
    reason: str = ""
    """Why there are no joules."""


class Meter(Protocol):
    """Measures the energy of one window after the other."""

    @property
    def name(self) -> str:
        """What measures, such as `RAPL`."""

    @property
    def scope(self) -> str:
        """What is measured, in words: never more than the sensor sees."""

    def obstacle(self) -> str:
        """Return why nothing can be measured, or nothing: the sensor is asked once."""

    def start(self) -> None:
        """Begin a window."""

    def stop(self) -> Energy:
        """End the window and return its energy, which is None with a reason where it could not be told."""


class SensorMeter:
    """Asks a sensor at both ends of the window, and in between as often as the sensor needs."""

    def __init__(self, sensor: Sensor, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._sensor = sensor
        self._clock = clock
        self._readings: list[Reading | None] = []
        self._began_ns = 0
        self._ticker = Ticker(self._read, sensor.period_s)

    @property
    def name(self) -> str:
        """What measures."""
        return self._sensor.name

    @property
    def scope(self) -> str:
        """What is measured, in words."""
        return self._sensor.scope

    def obstacle(self) -> str:
        """Return why nothing can be measured, or nothing."""
        return self._sensor.unreadable if self._sensor.read() is None else ""

    def start(self) -> None:
        """Begin a window."""
        self._readings = []
        self._began_ns = self._clock()
        self._read()
        self._ticker = Ticker(self._read, self._sensor.period_s)
        self._ticker.start()

    def stop(self) -> Energy:
        """End the window and return its energy."""
        self._ticker.stop()
        self._read()
        duration_ns = self._clock() - self._began_ns
        joules, reason = self._judge(duration_ns)
        return Energy(meter=self.name, scope=self.scope, duration_ns=duration_ns, joules=joules, reason=reason)

    def _read(self) -> None:
        # The clock is read on both sides, for some sensors take milliseconds to answer.
        before_ns = self._clock()
        values = self._sensor.read()
        middle_ns = (before_ns + self._clock()) // 2
        self._readings.append(None if values is None else Reading(monotonic_ns=middle_ns, values=values))

    def _judge(self, duration_ns: int) -> tuple[float | None, str]:
        known = [reading for reading in self._readings if reading is not None]
        if len(known) < len(self._readings):
            missing = len(self._readings) - len(known)
            return None, f"{missing} of {len(self._readings)} readings failed: {self._sensor.unreadable}"
        if duration_ns < self._sensor.least_s * 1e9:
            return None, f"{duration_ns / 1e9:.2f} s are too short: this sensor needs {self._sensor.least_s:g} s"
        joules = self._sensor.joules(known)
        return joules, "" if joules is not None else "the counter ran backwards"


def meters(root: Path = Path("/")) -> tuple[Meter, ...]:
    """Return what may measure energy here; a sensor that only root may read is among them, and says so when asked."""
    found = (*rapl.sensors(root), *ina3221.sensors(root), *pmic.sensors(root), *nvml.sensors(root))
    return tuple(SensorMeter(sensor) for sensor in found)
