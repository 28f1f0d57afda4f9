"""The figures of one artifact on both sides, side by side."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Literal

from runner import stats
from runner.compare.comparison import Delta, LatencyVerdict, Unit
from runner.report import ArtifactReport, Latency

Kind = Literal["file", "answers", "time"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure by which two reports are compared."""

    name: str
    unit: Unit
    read: Callable[[ArtifactReport], float | None]
    kind: Kind
    """What it is taken from, and void with."""


METRICS = (
    Metric(name="size", unit="bytes", kind="file", read=lambda it: it.size_bytes),
    Metric(name="top1", unit="fraction", kind="answers", read=lambda it: it.accuracy.top1 if it.accuracy else None),
    Metric(name="top5", unit="fraction", kind="answers", read=lambda it: it.accuracy.top5 if it.accuracy else None),
    Metric(name="loss", unit="nats", kind="answers", read=lambda it: it.accuracy.loss if it.accuracy else None),
    Metric(name="latency", unit="ns", kind="time", read=lambda it: it.latency.median_ns if it.latency else None),
    Metric(name="accelerator", unit="ns", kind="time", read=lambda it: it.latency.device_ns if it.latency else None),
    Metric(name="load", unit="ns", kind="time", read=lambda it: it.latency.load_ns if it.latency else None),
    Metric(name="first", unit="ns", kind="time", read=lambda it: it.latency.first_ns if it.latency else None),
    Metric(name="peak", unit="bytes", kind="time", read=lambda it: it.peak_bytes),
)


def deltas(
    ours: ArtifactReport, theirs: ArtifactReport, void: Collection[Kind], latency: LatencyVerdict | None
) -> tuple[Delta, ...]:
    """Return every metric on both sides, without those of the kinds that are void; latency as it was judged."""
    found = [_delta(metric, ours, theirs, void=metric.kind in void) for metric in METRICS]
    if latency is None:
        return tuple(found)
    return tuple(
        replace(each, ratio=latency.ratio, interval=latency.interval) if each.metric == "latency" else each
        for each in found
    )


def process_medians(latency: Latency) -> list[float]:
    """Return the median of each process, in nanoseconds: the process is the unit."""
    return [stats.median(process.samples_ns) for process in latency.processes]


def blocks(ours: Latency, theirs: Latency) -> tuple[list[float], list[float]]:
    """Return the medians of the processes that ran in one round, ours and theirs; what lacks its other is left out."""
    x, y = (
        {process.turn: median for process, median in zip(it.processes, process_medians(it), strict=True)}
        for it in (ours, theirs)
    )
    both = sorted(x.keys() & y.keys())
    return [x[turn] for turn in both], [y[turn] for turn in both]


def _delta(metric: Metric, ours: ArtifactReport, theirs: ArtifactReport, *, void: bool) -> Delta:
    host, device = (None, None) if void else (metric.read(ours), metric.read(theirs))
    if host is None or device is None:
        return Delta(metric=metric.name, unit=metric.unit, host=host, device=device, difference=None, ratio=None)
    return Delta(
        metric=metric.name,
        unit=metric.unit,
        host=host,
        device=device,
        difference=device - host,
        ratio=device / host if host else None,
    )
