"""Which trials are worth something: those that no other beats in both accuracy and what is minimised."""

from collections.abc import Sequence
from dataclasses import dataclass

from packager.tune import Objective
from packager.tune.plan import Plan
from runner.interval import Interval
from runner.packing import Drop

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What came of a trial."""

    plan: Plan
    drop: Drop
    """On the validation split."""
    macs: int | None
    """None for a network that exists only as a file."""
    size_bytes: int
    latency_ns: float | None = None
    """The median, where latency is what is minimised."""
    latency_interval: Interval | None = None

    def figure(self, objective: Objective) -> float:
        """Return what is minimised. Raises ValueError where it was not measured."""
        figures = {"latency": self.latency_ns, "size": self.size_bytes, "macs": self.macs}
        if (found := figures[objective]) is None:
            raise ValueError(f"{objective} was not measured")
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """A trial that has come to its end."""

    trial: int
    """Its number, from 1."""
    finding: Finding | None = None
    """None for one that failed, or was stopped as hopeless."""
    failed: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """A trial with its figures."""

    trial: int
    finding: Finding


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The point that is packed."""

    point: Point
    holds: bool


def front(records: Sequence[Record], objective: Objective) -> tuple[Point, ...]:
    """Return the Pareto front, the least figure first; of trials that are equal in both, the first one."""
    points = [Point(trial=record.trial, finding=record.finding) for record in records if record.finding]
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (each.finding.figure(objective), each.finding.drop.drop, each.trial)):
        if not found or point.finding.drop.drop < found[-1].finding.drop.drop - ROUNDING:
            found.append(point)
    return tuple(found)


def choice(points: Sequence[Point], max_drop: float) -> Choice:
    """Return the first point of a front whose drop, a fraction, holds; where none does, the one that loses least.

    Raises ValueError without points.
    """
    for point in points:
        if point.finding.drop.within(max_drop):
            return Choice(point=point, holds=True)
    return Choice(point=min(points, key=lambda point: point.finding.drop.drop), holds=False)
