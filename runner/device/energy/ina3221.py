"""The power monitors of NVIDIA's Jetson boards: Linux, Documentation/hwmon/ina3221.rst."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from runner.device.energy.sensor import Sensor, integrated
from runner.device.files import read_number, read_text

CHANNELS = (1, 2, 3)
"""What the driver numbers higher is shunt voltages, and sums."""
WHOLE = ("VDD_IN", "POM_5V_IN")
"""Rails through which all of a Jetson module's power comes: the others are parts of them."""


def sensors(root: Path) -> Iterator[Sensor]:
    """Yield one sensor for all rails, or for that which has the others in it."""
    rails = {
        read_text(chip / f"in{channel}_label") or f"{chip.name}/{channel}": (chip, channel)
        for chip in sorted(root.glob("sys/class/hwmon/hwmon*"))
        if read_text(chip / "name") == "ina3221"
        for channel in CHANNELS
        # A channel that is switched off has its files, and answers with an error.
        if _read([(chip, channel)]) is not None
    }
    whole = next((name for name in WHOLE if name in rails), None)
    chosen = [whole] if whole else list(rails)
    if chosen:
        what = f"the rail {whole}, all that the module draws" if whole else f"the rails {', '.join(chosen)}"
        yield Sensor(
            name="INA3221",
            scope=f"{what}: not the power supply",
            read=partial(_read, [rails[name] for name in chosen]),
            unreadable="the power monitor did not answer",
            joules=integrated,
            period_s=0.1,
            least_s=1.0,
        )


def _read(rails: Sequence[tuple[Path, int]]) -> tuple[float, ...] | None:
    """Return watts: the files have millivolts and milliamperes."""
    watts = []
    for chip, channel in rails:
        millivolts, milliamperes = (read_number(chip / f"{kind}{channel}_input") for kind in ("in", "curr"))
        if millivolts is None or milliamperes is None:
            return None
        watts.append(millivolts * milliamperes / 1e6)
    return tuple(watts)
