"""What a search by measured latency has left of an int8 artifact in fp32: its trials, and what they came to."""

from collections.abc import Iterator, Mapping

from runner.interval import Interval
from runner.packing import Division, Optimised
from runner.render import units
from runner.render.page import Block, Table, drop_empty_columns
from runner.render.units import NONE


def optimised_blocks(search: Optimised) -> Iterator[Block]:
    """Yield the trials of a search, and the times of what it has found beside fp32 and all in int8."""
    if search.tried:
        yield _trials(search)
    if not search.speeds:
        yield f"{search.artifact}: nothing that was tried is faster than fp32, and right; it is left out."
        return
    yield _speeds(search)
    taken = sum(each.accepted for each in search.tried)
    coverage = units.percent(search.speeds[0].interval.confidence, 1)
    yield (
        f"{search.artifact}: {units.counted(len(search.tried), 'trial')} in {search.duration_s:.0f} s, {taken} taken. "
        f"Integers are {_counted(search.int8)}; in fp32 stay {_counted(search.fp32) or 'none'}. Ratios are of "
        f"processes that took turns; latency is their median with its {coverage} interval."
    )


def _trials(search: Optimised) -> Table:
    rows = tuple(
        (
            each.what,
            units.times(each.ratio),
            _span(each.interval),
            units.points(each.validation.drop) if each.validation else NONE,
            _end(each),
        )
        for each in search.tried
    )
    columns = (f"{search.artifact}: tried", "time, to the best before", "interval", "points lost", "")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE)


def _end(tried: Division) -> str:
    return "taken" if tried.accepted else tried.reason


def _speeds(search: Optimised) -> Table:
    scale = units.time_scale([each.median_ns for each in search.speeds], resolution=0.002)
    rows = tuple(
        (
            each.what,
            scale.show(each.median_ns),
            scale.span(each.interval.low, each.interval.high),
            units.times(each.ratio),
            _span(each.interval_of_ratio),
        )
        for each in search.speeds
    )
    columns = (f"{search.artifact}: confirmed", "latency", "its interval", "to fp32", "interval")
    return Table(columns=columns, rows=rows, best=len(rows) - 1)


def _span(interval: Interval | None) -> str:
    return NONE if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def _counted(kinds: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items())
