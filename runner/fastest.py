"""Which artifact of a report is the fastest whose answers hold."""

from collections.abc import Iterable, Iterator, Sequence

from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, Latency

MOST_TOP1_DROP = 0.01
"""By how much an artifact's top-1 may lie below that of the host's fp32 model for its answers to hold."""
MOST_FLIPS = 0.01
"""The share of samples that it may answer otherwise than it did on the host."""
ROUNDING = 1e-9


def fastest(reports: Sequence[ArtifactReport], reference_top1: float, run: Iterable[Reason]) -> str | None:
    """Return the artifact with the lowest median latency among those whose answers hold, if there is one.

    None is where any reason that concerns the whole `run` voids its figures.
    """
    if any(reason.level == "invalid" for reason in run):
        return None
    latencies = dict(_latencies(reports, reference_top1))
    return min(latencies, key=lambda name: latencies[name].median_ns, default=None)


def as_fast(reports: Sequence[ArtifactReport], reference_top1: float, name: str) -> tuple[str, ...]:
    """Return the others whose answers hold, as those of `name` do, and whose interval of the median overlaps its."""
    latencies = dict(_latencies(reports, reference_top1))
    fastest = latencies.pop(name, None)
    if fastest is None:
        return ()
    interval = fastest.interval
    return tuple(
        other
        for other, latency in latencies.items()
        if latency.interval.low <= interval.high and interval.low <= latency.interval.high
    )


def _latencies(reports: Sequence[ArtifactReport], reference_top1: float) -> Iterator[tuple[str, Latency]]:
    for report in reports:
        if report.latency and holds(report, reference_top1):
            yield report.name, report.latency


def holds(report: ArtifactReport, reference_top1: float) -> bool:
    """Say whether an artifact may be recommended: near the fp32 model, near the host's answers, nothing void."""
    void = any(reason.level == "invalid" for reason in report.reasons)
    return report.accuracy is not None and accurate(report.accuracy, reference_top1) and not void


def accurate(found: Accuracy, reference_top1: float) -> bool:
    """Say whether an artifact's answers are near those of the fp32 model, and near the host's."""
    near = found.top1 >= reference_top1 - MOST_TOP1_DROP - ROUNDING
    return near and len(found.flips) <= MOST_FLIPS * found.samples
