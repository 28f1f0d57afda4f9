"""The energy counters of Intel's and AMD's packages: Linux, Documentation/power/powercap/powercap.rst."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from runner.device.energy.sensor import Sensor, counted
from runner.device.files import read_count, read_text

ZONES = "sys/class/powercap/intel-rapl:*"
READ_S = 30.0
"""A package's counter wraps after 262 kJ: at 1 kW in 4 minutes."""


def sensors(root: Path) -> Iterator[Sensor]:
    """Yield one sensor for all packages, where there are any."""
    # A package's cores and memory are zones within it (intel-rapl:0:1), and psys is a sum of others.
    zones = [
        zone
        for zone in sorted(root.glob(ZONES))
        if zone.name.count(":") == 1 and (read_text(zone / "name") or "").startswith("package")
    ]
    if zones:
        names = ", ".join(read_text(zone / "name") or zone.name for zone in zones)
        wraps_j = [(read_count(zone / "max_energy_range_uj") or 0) / 1e6 for zone in zones]
        yield Sensor(
            name="RAPL",
            scope=f"the CPU packages ({names}): not the memory, the board or the power supply",
            read=partial(_read, zones),
            unreadable="the CPU's energy counter is for root alone (Linux 5.10 and later): "
            "as root, chmod a+r /sys/class/powercap/intel-rapl:*/energy_uj",
            joules=partial(counted, wraps_j=wraps_j),
            period_s=READ_S,
            least_s=0.1,
        )


def _read(zones: list[Path]) -> tuple[float, ...] | None:
    found = [value / 1e6 for zone in zones if (value := read_count(zone / "energy_uj")) is not None]
    return tuple(found) if len(found) == len(zones) else None
