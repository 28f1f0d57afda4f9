"""Which artifact of a report is the fastest whose answers hold, in its calls or from a cold start."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from runner.interval import Interval
from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, Latency, Objective
from runner.stats.quantiles import median, median_interval

MOST_TOP1_DROP = 0.01
"""By how much an artifact's top-1 may lie below that of the host's fp32 model for its answers to hold."""
MOST_FLIPS = 0.01
"""The share of samples that it may answer otherwise than it did on the host."""
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What artifacts are ranked by, in nanoseconds."""

    median_ns: float
    interval: Interval
    """Of the median over processes."""


def cost(latency: Latency, minimise: Objective) -> Cost:
    """Return the time of a call, or that from the start of a process to its first answer: import, load, first call."""
    if minimise == "latency":
        return Cost(median_ns=latency.median_ns, interval=latency.interval)
    starts = [process.import_ns + process.load_ns + process.first_ns for process in latency.processes]
    return Cost(median_ns=median(starts), interval=median_interval(starts))


def fastest(
    reports: Sequence[ArtifactReport], reference_top1: float, run: Iterable[Reason], minimise: Objective = "latency"
) -> str | None:
    """Return the artifact with the lowest median cost among those whose answers hold, if there is one.

    None is where any reason that concerns the whole `run` voids its figures.
    """
    if any(reason.level == "invalid" for reason in run):
        return None
    costs = dict(_costs(reports, reference_top1, minimise))
    return min(costs, key=lambda name: costs[name].median_ns, default=None)


def as_fast(
    reports: Sequence[ArtifactReport], reference_top1: float, name: str, minimise: Objective = "latency"
) -> tuple[str, ...]:
    """Return the others whose answers hold, as those of `name` do, and whose interval of the median overlaps its."""
    costs = dict(_costs(reports, reference_top1, minimise))
    fastest = costs.pop(name, None)
    if fastest is None:
        return ()
    interval = fastest.interval
    return tuple(
        other
        for other, each in costs.items()
        if each.interval.low <= interval.high and interval.low <= each.interval.high
    )


def _costs(reports: Sequence[ArtifactReport], reference_top1: float, minimise: Objective) -> Iterator[tuple[str, Cost]]:
    for report in reports:
        if report.latency and holds(report, reference_top1):
            yield report.name, cost(report.latency, minimise)


def holds(report: ArtifactReport, reference_top1: float) -> bool:
    """Say whether an artifact may be recommended: near the fp32 model, near the host's answers, nothing void."""
    void = any(reason.level == "invalid" for reason in report.reasons)
    return report.accuracy is not None and accurate(report.accuracy, reference_top1) and not void


def accurate(found: Accuracy, reference_top1: float) -> bool:
    """Say whether an artifact's answers are near those of the fp32 model, and near the host's."""
    near = found.top1 >= reference_top1 - MOST_TOP1_DROP - ROUNDING
    return near and len(found.flips) <= MOST_FLIPS * found.samples
