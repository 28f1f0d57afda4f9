"""Figures as people read them: one unit and as many decimals for a whole column, so that the points stand in line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

NONE = "—"
"""A figure that there is not."""

SIZES = (("B", 1.0), ("KiB", 1024.0), ("MiB", 1024.0**2), ("GiB", 1024.0**3))
TIMES = (("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9))
ENERGIES = (("nJ", 1.0), ("µJ", 1e3), ("mJ", 1e6), ("J", 1e9))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A unit, and how many decimals to show in it."""

    unit: str
    factor: float
    decimals: int

    def number(self, value: float | None) -> str:
        """Return the value in this unit, without its name."""
        return NONE if value is None else f"{value / self.factor:.{self.decimals}f}"

    def show(self, value: float | None) -> str:
        """Return the value in this unit, with its name."""
        return NONE if value is None else f"{self.number(value)} {self.unit}"

    def span(self, low: float, high: float) -> str:
        """Return a range in this unit, without its name."""
        return f"{self.number(low)}–{self.number(high)}"  # noqa: RUF001 - a range is written with an en dash


def time_scale(values: Sequence[float | None], resolution: float = 0.01) -> Scale:
    """Return the scale for times in nanoseconds that shows the smallest of them to `resolution`, a fraction."""
    return _scale(values, TIMES, resolution)


def size_scale(values: Sequence[float | None], resolution: float = 0.01) -> Scale:
    """Return the scale for sizes in bytes that shows the smallest of them to `resolution`, a fraction."""
    return _scale(values, SIZES, resolution)


def energy_scale(values: Sequence[float | None], resolution: float = 0.01) -> Scale:
    """Return the scale for energies in nanojoules that shows the smallest of them to `resolution`, a fraction."""
    return _scale(values, ENERGIES, resolution)


def _scale(values: Sequence[float | None], units: Sequence[tuple[str, float]], resolution: float) -> Scale:
    known = [value for value in values if value]
    smallest, largest = min(known, default=1.0), max(known, default=1.0)
    index = max((i for i, unit in enumerate(units) if unit[1] <= smallest), default=0)
    # The unit of the smallest, unless the largest becomes unreadable in it.
    while largest / units[index][1] >= 10_000 and index + 1 < len(units):
        index += 1
    name, factor = units[index]
    if index == 0:
        return Scale(unit=name, factor=factor, decimals=0)
    decimals = math.ceil(-math.log10(resolution * smallest / factor))
    return Scale(unit=name, factor=factor, decimals=min(max(decimals, 0), 3))


def percent(value: float | None, decimals: int = 2) -> str:
    """Return a fraction as a percentage."""
    return NONE if value is None else f"{100 * value:.{decimals}f} %"


def signed_percent(value: float | None) -> str:
    """Return a change as a percentage with its sign."""
    return NONE if value is None else f"{100 * value:+.2f} %"


def points(value: float | None) -> str:
    """Return a difference of two fractions in percentage points, with its sign."""
    if value is None:
        return NONE
    return signed(100 * value)


def signed(value: float) -> str:
    """Return a number of two decimals with its sign."""
    return f"{value:+.2f}" if round(value, 2) else "0.00"


def times(value: float | None) -> str:
    """Return a ratio with two decimals, or more where it is small."""
    if value is None:
        return NONE
    return f"{value:.2f}x" if value >= 0.1 else f"{value:.2g}x"


def number(value: float | None, decimals: int) -> str:
    """Return a number with its thousands apart."""
    return NONE if value is None else f"{value:,.{decimals}f}"


def rate(value: float | None) -> str:
    """Return a rate per second with three digits or more."""
    return NONE if value is None else f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}/s"


def counted(count: float, noun: str) -> str:
    """Return how many there are of what has a regular plural: `1 point`, `0.5 points`."""
    return f"{count:g} {noun}{'' if count == 1 else 's'}"
