"""What happened between two snapshots. What one of them lacks is None, and so is what ran backwards."""

from collections.abc import Sequence
from dataclasses import dataclass

from runner.process import Counters, share


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What happened to the machine between two snapshots."""

    duration_ns: int
    hottest_c: float | None
    warming_c: float | None
    """The last temperature less the first."""
    slowest_mhz: float | None
    fastest_mhz: float | None
    throttled: int | None
    """The bits of `throttled_now` that were seen, and those that `throttled_since_boot` got."""
    heat_throttles: int | None
    nr_throttled: int | None
    steal_fraction: float | None


def delta(before: Counters, after: Counters, between: Sequence[Counters] = ()) -> Window:
    """Return what happened between two snapshots, with what those `between` them saw."""
    seen = (before, *between, after)
    celsius = [it.temperature_c for it in seen if it.temperature_c is not None]
    mhz = [it.frequency_mhz for it in seen if it.frequency_mhz is not None]
    return Window(
        duration_ns=after.monotonic_ns - before.monotonic_ns,
        hottest_c=max(celsius, default=None),
        warming_c=_difference(before.temperature_c, after.temperature_c),
        slowest_mhz=min(mhz, default=None),
        fastest_mhz=max(mhz, default=None),
        throttled=_throttled_within(seen),
        heat_throttles=_growth(before.heat_throttles, after.heat_throttles),
        nr_throttled=_growth(before.nr_throttled, after.nr_throttled),
        steal_fraction=share(
            _growth(before.steal_ticks, after.steal_ticks), _growth(before.total_ticks, after.total_ticks)
        ),
    )


def _throttled_within(seen: Sequence[Counters]) -> int | None:
    """Return the bits that were set in any snapshot, and those that were remembered since the first."""
    now = [it.throttled_now for it in seen if it.throttled_now is not None]
    remembered = [it.throttled_since_boot for it in seen if it.throttled_since_boot is not None]
    if not now:
        return None
    bits = 0
    for value in now:
        bits |= value
    for value in remembered[1:]:
        bits |= value & ~remembered[0]
    return bits


def _growth(before: int | None, after: int | None) -> int | None:
    return after - before if before is not None and after is not None and after >= before else None


def _difference(before: float | None, after: float | None) -> float | None:
    return after - before if before is not None and after is not None else None
