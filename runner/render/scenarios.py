"""The other scenarios of a report beside the first: other counts of threads, samples and streams."""

from collections.abc import Iterator, Mapping, Sequence

from runner.reason import Status, worst
from runner.render import units
from runner.render.page import Block, Table, drop_empty_columns
from runner.render.units import NONE, Scale
from runner.report import ArtifactReport, Latency, Report

WORDS: Mapping[Status, str] = {"valid": NONE, "caveats": "caveats", "invalid": "void"}


def scenario_blocks(report: Report) -> Iterator[Block]:
    """Yield a table with a row for each scenario of each artifact, if there is more than the first."""
    timed = [(artifact, _latencies(artifact)) for artifact in report.artifacts if artifact.scenarios]
    if not timed:
        return
    every = [latency for _, latencies in timed for latency in latencies]
    times = units.time_scale([latency.median_ns for latency in every], resolution=0.002)
    streams = any(latency.streams > 1 for latency in every)
    rows = tuple(
        (
            artifact.name,
            str(latency.threads or report.settings.threads),
            str(latency.batch),
            str(latency.streams) if streams else NONE,
            *_cells(latency, artifact.latency, times),
            WORDS[worst(latency.reasons)],
        )
        for artifact, latencies in timed
        for latency in latencies
    )
    columns = ("artifact", "threads", "batch", "streams", "latency", "interval", "throughput", "to the first", "status")
    yield drop_empty_columns(Table(columns=columns, rows=rows), NONE)
    yield "A call has as many samples as the batch; throughput is in samples, beside that of the first scenario."
    yield from (
        f"{artifact.name}, {latency.scenario.words}: {reason.line}"
        for artifact, latencies in timed
        for latency in latencies
        for reason in latency.reasons
    )


def _latencies(artifact: ArtifactReport) -> Sequence[Latency]:
    return [artifact.latency, *artifact.scenarios] if artifact.latency else artifact.scenarios


def _cells(latency: Latency, first: Latency | None, times: Scale) -> tuple[str, ...]:
    return (
        times.show(latency.median_ns),
        times.span(latency.interval.low, latency.interval.high),
        units.rate(latency.throughput_per_s),
        units.times(latency.throughput_per_s / first.throughput_per_s) if first else NONE,
    )
