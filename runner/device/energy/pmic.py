"""The power controller of a Raspberry Pi 5, which its firmware reads: voltage and current of each rail."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from runner.device.energy.sensor import Sensor, integrated
from runner.device.firmware import Firmware, find_firmware

QUESTION = "pmic_read_adc"
LINE = re.compile(r"\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*")
"""`VDD_CORE_A current(7)=0.72240000A`, and so on: a rail's current, and further down its voltage."""


def sensors(root: Path) -> Iterator[Sensor]:
    """Yield one sensor for all rails, on a board whose firmware knows them; others answer with an error."""
    firmware = find_firmware(root)
    names = tuple(watts(firmware.ask(QUESTION) or ""))
    if names:
        yield Sensor(
            name="PMIC",
            scope=f"the rails {', '.join(names)}: not what is plugged into the board, nor the power supply",
            read=partial(_read, firmware, names),
            unreadable="vcgencmd pmic_read_adc did not tell every rail",
            joules=integrated,
            period_s=0.25,
            least_s=5.0,
        )


def watts(answer: str) -> Mapping[str, float]:
    """Return the power of each rail of which both voltage and current are told: the 5 V input has no current."""
    found = [match for line in answer.splitlines() if (match := LINE.fullmatch(line))]
    amperes = {match[1]: float(match[3]) for match in found if match[2] == "A"}
    volts = {match[1]: float(match[3]) for match in found if match[2] == "V"}
    return {name: amperes[name] * volts[name] for name in amperes if name in volts}


def _read(firmware: Firmware, names: tuple[str, ...]) -> tuple[float, ...] | None:
    found = watts(firmware.ask(QUESTION) or "")
    return tuple(found[name] for name in names) if set(names) <= set(found) else None
