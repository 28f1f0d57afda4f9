"""The search as a page: its Pareto front, what was chosen, and what became of the other trials."""

from collections.abc import Iterator, Sequence

from packager.tune import Objective, Wish
from packager.tune.front import Choice, Finding, Point, Record
from packager.tune.plan import described
from runner.render import units
from runner.render.page import Block, Listing, Page, Table, Title, drop_empty_columns
from runner.render.units import NONE

WORDS: dict[Objective, str] = {"latency": "latency", "size": "size", "macs": "MACs"}


def page(name: str, wish: Wish, records: Sequence[Record], points: Sequence[Point], choice: Choice) -> Page:
    """Return the page of a search; `points` are its front, the least figure first."""
    ended = sum(record.finding is not None for record in records)
    stopped = [record for record in records if record.finding is None and not record.failed]
    failed = [record for record in records if record.failed]
    counts = [f"{ended} ended", f"{len(stopped)} stopped early", f"{len(failed)} failed"]
    number, most = units.counted(len(records), "trial"), units.counted(wish.max_drop, "point")
    blocks: list[Block] = [
        Title(text=f"{name}, tuned for {WORDS[wish.objective]} at a drop of at most {most}"),
        _table(wish, points, choice),
        f"{number}: {', '.join(counts)}. None of them both loses less and needs less than one of those above. "
        f"Points are of top-1 on the {points[0].finding.drop.samples:,} images of the validation split, against the "
        "trained network in fp32.",
        verdict(choice, wish),
        *_listing("Stopped early", stopped),
        *_listing("Failed", failed),
    ]
    return tuple(blocks)


def verdict(choice: Choice, wish: Wish) -> str:
    """Return which point is packed, and why."""
    drop = units.points(choice.point.finding.drop.drop)
    if choice.holds:
        least = WORDS[wish.objective]
        return f"Chosen: trial {choice.point.trial}, the least {least} of those that hold {wish.max_drop:g} points."
    return (
        f"No trial holds {wish.max_drop:g} points; trial {choice.point.trial} is packed, which loses least: {drop}. "
        "More --trials, or a larger --max-drop."
    )


def line(record: Record) -> tuple[str, str]:
    """Return how a trial ended, as a figure and in words."""
    if record.finding is None:
        return "failed" if record.failed else "stopped", record.reason
    return f"{units.points(record.finding.drop.drop)} pt", f"{_cost(record.finding)}; {described(record.finding.plan)}"


def _cost(finding: Finding) -> str:
    figures = [units.size_scale([finding.size_bytes]).show(finding.size_bytes)]
    if finding.macs is not None:
        figures.append(f"{finding.macs:,} MACs")
    if finding.latency_ns is not None:
        figures.append(units.time_scale([finding.latency_ns], resolution=0.002).show(finding.latency_ns))
    return ", ".join(figures)


def _table(wish: Wish, points: Sequence[Point], choice: Choice) -> Table:
    findings = [point.finding for point in points]
    sizes = units.size_scale([each.size_bytes for each in findings])
    times = units.time_scale([each.latency_ns for each in findings], resolution=0.002)
    rows = tuple(
        (
            str(point.trial),
            described(each.plan),
            units.points(each.drop.drop),
            f"{units.points(each.drop.interval.low)} to {units.points(each.drop.interval.high)}",
            NONE if each.macs is None else f"{each.macs:,}",
            sizes.show(each.size_bytes),
            times.show(each.latency_ns),
            times.span(each.latency_interval.low, each.latency_interval.high) if each.latency_interval else NONE,
        )
        for point, each in zip(points, findings, strict=True)
    )
    names = ("trial", "what was done", "points lost", "interval", "MACs", "size", "latency", "its interval")
    columns = tuple(f"{each}, minimised" if each == WORDS[wish.objective] else each for each in names)
    table = Table(columns=columns, rows=rows, left=2, best=points.index(choice.point))
    return drop_empty_columns(table, NONE)


def _listing(head: str, records: Sequence[Record]) -> Iterator[Listing]:
    if records:
        yield Listing(head=head, lines=tuple(f"trial {record.trial}: {record.reason}" for record in records))
