"""What an energy sensor is, and how joules follow from what it read: pure functions of readings."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a sensor said at one moment: one value for each of its parts, joules or watts."""

    monotonic_ns: int
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sensor:
    """Something that tells energy or power when it is asked."""

    name: str
    scope: str
    """What is measured, in words: never more than the sensor sees."""
    read: Callable[[], tuple[float, ...] | None]
    """Return the values, or None where they cannot be read."""
    unreadable: str
    """Why they may be unreadable, in words, and what helps."""
    joules: Callable[[Sequence[Reading]], float | None]
    """Return the energy from the first reading to the last, or None where the readings make no sense."""
    period_s: float
    """How often it is asked."""
    least_s: float
    """A shorter window says nothing, for the sensor has refreshed its value too few times."""


def counted(readings: Sequence[Reading], wraps_j: Sequence[float]) -> float | None:
    """Return what counters of joules have grown by; each begins at 0 again at its `wraps_j`, at most once a reading.

    None where a counter ran backwards that does not wrap (0).
    """
    total = 0.0
    for before, after in itertools.pairwise(readings):
        for old, new, wrap in zip(before.values, after.values, wraps_j, strict=True):
            if new < old and not wrap:
                return None
            total += new - old if new >= old else new + wrap - old
    return total


def integrated(readings: Sequence[Reading]) -> float:
    """Return the energy under watts that were read now and then, all parts together: the trapezoid rule."""
    return sum(
        (sum(before.values) + sum(after.values)) / 2 * (after.monotonic_ns - before.monotonic_ns) / 1e9
        for before, after in itertools.pairwise(readings)
    )
