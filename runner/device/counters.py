"""What the machine counts, at one moment. What cannot be read is None."""

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.device import cgroup
from runner.device.files import count, number, read_count, read_number, read_text
from runner.device.firmware import Firmware, find_firmware
from runner.device.gpu import GpuSensor
from runner.process import Counters

ROOT = Path("/")
THROTTLED_NOW = 0xF
SINCE_BOOT_SHIFT = 16
CPU_ZONES = ("cpu", "soc", "x86_pkg_temp", "bigcore", "littlecore")
CPU_CHIPS = ("coretemp", "k10temp", "zenpower", "cpu_thermal")
COLDEST_C, HOTTEST_C = -40.0, 150.0
"""A sensor that says otherwise is broken, or switched off: some then say -274."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensors:
    """Where this machine's counters stand. Looked for once: looking costs ten times what reading does."""

    root: Path
    cpus: Sequence[int]
    """Whose clock is read; none are all."""
    temperatures: tuple[Path, ...]
    frequencies: tuple[Path, ...]
    heat_throttles: tuple[Path, ...]
    firmware: Firmware
    cgroups: tuple[Path, ...]
    gpu: GpuSensor | None = None
    """Asked where something runs on it."""

    def read(self) -> Counters:
        """Take a snapshot."""
        steal, total = _ticks(self.root)
        bits = self.firmware.throttled()
        return Counters(
            monotonic_ns=time.monotonic_ns(),
            load_average=number((read_text(self.root / "proc/loadavg") or "").partition(" ")[0]),
            temperature_c=max(_plausible(self.temperatures), default=None),
            frequency_mhz=self._frequency_mhz(),
            throttled_now=None if bits is None else bits & THROTTLED_NOW,
            throttled_since_boot=None if bits is None else bits >> SINCE_BOOT_SHIFT & THROTTLED_NOW,
            heat_throttles=_sum(read_count(path) for path in self.heat_throttles),
            nr_throttled=cgroup.throttled_periods(self.cgroups),
            steal_ticks=steal,
            total_ticks=total,
            gpu=self.gpu.read() if self.gpu else None,
        )

    def _frequency_mhz(self) -> float | None:
        found = [khz / 1000 for path in self.frequencies if (khz := read_number(path))]
        found = found or [*_told_mhz(self.root, self.cpus)]
        return sum(found) / len(found) if found else None


def sensors(root: Path = ROOT, cpus: Sequence[int] = (), gpu: GpuSensor | None = None) -> Sensors:
    """Look for everything that can be read here, of `cpus` or of all, and of a GPU where one is given."""
    numbers = cpus or ("[0-9]*",)
    of_cpus = [path for number in numbers for path in sorted(root.glob(f"sys/devices/system/cpu/cpu{number}"))]
    return Sensors(
        root=root,
        cpus=cpus,
        temperatures=_temperatures(root),
        frequencies=_existing(of_cpus, "cpufreq/scaling_cur_freq"),
        heat_throttles=_existing(of_cpus, "thermal_throttle/core_throttle_count"),
        firmware=find_firmware(root),
        cgroups=cgroup.folders(root),
        gpu=gpu,
    )


def counters(root: Path = ROOT) -> Counters:
    """Take one snapshot of the machine."""
    return sensors(root).read()


def _temperatures(root: Path) -> tuple[Path, ...]:
    """Return the CPU's sensors, or all where none says that it is the CPU's."""
    zones = [zone for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")) if [*_plausible([zone / "temp"])]]
    of_cpu = [zone / "temp" for zone in zones if (read_text(zone / "type") or "").lower().startswith(CPU_ZONES)]
    chips = [chip for chip in sorted(root.glob("sys/class/hwmon/hwmon*")) if read_text(chip / "name") in CPU_CHIPS]
    of_chips = [path for chip in chips for path in sorted(chip.glob("temp[0-9]*_input"))]
    return tuple(of_cpu or of_chips or [zone / "temp" for zone in zones])


def _told_mhz(root: Path, cpus: Sequence[int]) -> Iterator[float]:
    """Yield the clocks of some CPUs, or of all, as /proc/cpuinfo has them where the kernel has no cpufreq."""
    cpu: int | None = None
    for line in (read_text(root / "proc/cpuinfo") or "").splitlines():
        key, _, text = line.partition(":")
        if key.startswith("processor"):
            cpu = count(text.strip())
        elif key.startswith("cpu MHz") and (not cpus or cpu in cpus) and (mhz := number(text)):
            yield mhz


def _plausible(paths: Iterable[Path]) -> Iterator[float]:
    """Yield the temperatures that can be, in degrees Celsius; the files have thousandths."""
    for path in paths:
        value = read_number(path)
        if value is not None and COLDEST_C < value / 1000 < HOTTEST_C:
            yield value / 1000


def _ticks(root: Path) -> tuple[int | None, int | None]:
    """Return the CPU time that was stolen, and all of it; guests' is in the users' already (proc(5))."""
    lines = (read_text(root / "proc/stat") or "").splitlines()
    words = next((line.split()[1:9] for line in lines if line.startswith("cpu ")), [])
    ticks = [found for word in words if (found := count(word)) is not None]
    return (ticks[7], sum(ticks)) if len(ticks) == 8 else (None, None)


def _existing(folders: Iterable[Path], name: str) -> tuple[Path, ...]:
    return tuple(path for folder in folders if (path := folder / name).exists())


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
