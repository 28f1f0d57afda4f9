"""Reports as pages: what a person looks at after a run."""

from collections.abc import Iterator, Sequence

from runner.fastest import as_fast, cost
from runner.render import units
from runner.render.details import detail_blocks
from runner.render.device import device_line, device_page
from runner.render.operators import operator_blocks
from runner.render.packing import packing_blocks
from runner.render.page import Block, Listing, Page, Table, Title, drop_empty_columns
from runner.render.scenarios import scenario_blocks
from runner.render.units import NONE, Scale
from runner.report import Accuracy, ArtifactReport, Objective, Report

__all__ = ["base", "device_line", "device_page", "report_page", "run_line"]

STATUS = {
    "valid": "Valid.",
    "caveats": "Valid, with caveats: see the notes.",
    "invalid": "Not valid: see the notes.",
}

WORDS: dict[Objective, tuple[str, str]] = {
    "latency": ("Fastest with answers that hold", "the latency of"),
    "cold-start": ("Fastest to its first answer, of those whose answers hold", "the cold start of"),
}


def report_page(report: Report) -> Page:
    """Return a report as a page: figures beside those of fp32, details, the fastest, and every reason."""
    notes = _numbered(report.artifacts)
    names = [_marked(artifact, notes) for artifact in report.artifacts]
    run = tuple(reason.line for reason in report.reasons)
    blocks: list[Block] = [
        Title(text=f"{report.bundle_name} for {report.target}"),
        f"{device_line(report.device)} · {run_line(report)} · {bundle_line(report)}",
        _figures(report, names),
        _legend(report),
        *detail_blocks(report),
        *scenario_blocks(report),
        *operator_blocks(report),
        _fastest(report),
    ]
    lines = (*(f"[{number}] {text}" for text, number in notes.items()), *run)
    if lines:
        blocks.append(Listing(head="Notes", lines=lines))
    if report.packing:
        blocks += packing_blocks(report, report.packing)
    blocks.append(
        STATUS[report.status] if report.complete else f"Interrupted before it was done. {STATUS[report.status]}"
    )
    return tuple(block for block in blocks if block)


def run_line(report: Report) -> str:
    """Return how it was measured, in a few words."""
    settings = report.settings
    threads = f"{settings.threads} thread{'s' if settings.threads > 1 else ''}"
    return f"{threads}, batch {settings.batch}, {settings.effort} effort, {report.created}"


def bundle_line(report: Report) -> str:
    """Return which bundle it was, in a few words."""
    size = report.bundle_size_bytes
    return f"bundle {report.bundle_id[:12]}" + (f", {units.size_scale([size]).show(size)}" if size else "")


def _numbered(artifacts: Sequence[ArtifactReport]) -> dict[str, int]:
    texts = dict.fromkeys(text for artifact in artifacts for text in _reasons(artifact))
    return {text: number for number, text in enumerate(texts, start=1)}


def _reasons(artifact: ArtifactReport) -> Iterator[str]:
    yield from (reason.line for reason in artifact.reasons)
    if artifact.latency:
        yield from artifact.latency.failures
        # What is said of calls that were timed together says why these have none.
        together = any(process.calls_per_sample > 1 for process in artifact.latency.processes)
        if artifact.latency.p95_ns is None and not together:
            yield "p95 needs 59 samples in each process"


def _marked(artifact: ArtifactReport, notes: dict[str, int]) -> str:
    marks = ", ".join(str(notes[text]) for text in _reasons(artifact))
    name = artifact.title or artifact.name
    return f"{name} [{marks}]" if marks else name


def base(report: Report) -> ArtifactReport | None:
    """Return the artifact that the others are held against: fp32.onnx, or else the first fp32."""
    first = next((artifact for artifact in report.artifacts if artifact.precision == "fp32"), None)
    return report.artifact("fp32.onnx") or first


def _figures(report: Report, names: Sequence[str]) -> Table:
    fp32 = base(report)
    sizes = units.size_scale([artifact.size_bytes for artifact in report.artifacts])
    times = units.time_scale([it.latency.median_ns for it in report.artifacts if it.latency], resolution=0.002)
    rows = [
        (name, *_file_cells(it, fp32, sizes), *_answer_cells(it.accuracy), *_latency_cells(it, fp32, times))
        for name, it in zip(names, report.artifacts, strict=True)
    ]
    columns = (
        "artifact",
        "size",
        "ratio",
        "top-1",
        "top-5",
        "agreement",
        "latency",
        "ratio",
        "interval",
    )
    best = [artifact.name == report.fastest for artifact in report.artifacts]
    table = Table(columns=columns, rows=tuple(rows), best=best.index(True) if any(best) else None)
    return drop_empty_columns(table, NONE)


def _file_cells(artifact: ArtifactReport, fp32: ArtifactReport | None, sizes: Scale) -> tuple[str, ...]:
    ratio = artifact.size_bytes / fp32.size_bytes if fp32 and fp32.size_bytes else None
    return sizes.show(artifact.size_bytes), units.times(ratio)


def _answer_cells(accuracy: Accuracy | None) -> tuple[str, ...]:
    if accuracy is None:
        return NONE, NONE, NONE
    return units.percent(accuracy.top1), units.percent(accuracy.top5), units.percent(accuracy.agreement)


def _latency_cells(artifact: ArtifactReport, fp32: ArtifactReport | None, times: Scale) -> tuple[str, ...]:
    latency = artifact.latency
    if latency is None:
        return NONE, NONE, NONE
    span = times.span(latency.interval.low, latency.interval.high)
    return times.show(latency.median_ns), units.times(_ratio(artifact, fp32)), span


def _ratio(artifact: ArtifactReport, fp32: ArtifactReport | None, minimise: Objective = "latency") -> float | None:
    if artifact.latency is None or fp32 is None or fp32.latency is None:
        return None
    return cost(artifact.latency, minimise).median_ns / cost(fp32.latency, minimise).median_ns


def _legend(report: Report) -> str:
    fp32 = base(report)
    ratios = f"ratio: to {fp32.name}. " if fp32 else ""
    agreement = f"agreement: with the fp32 model on the host, over {len(report.labels):,} samples. "
    measured = [artifact.latency for artifact in report.artifacts if artifact.latency]
    if not measured:
        return ratios + agreement
    fewest = min(measured, key=lambda latency: len(latency.processes))
    count, coverage = len(fewest.processes), units.percent(fewest.interval.confidence, 1)
    return f"{ratios}{agreement}latency: median of {count} process medians and its {coverage} interval."


def _fastest(report: Report) -> str:
    fastest, fp32 = report.artifact(report.fastest or ""), base(report)
    if fastest is None:
        void = any(reason.level == "invalid" for reason in report.reasons)
        why = "No time of this run is valid" if void else "No artifact has both a latency and answers that hold"
        return f"Fastest: none. {why}."
    minimise = report.settings.minimise
    ratio = _ratio(fastest, fp32, minimise)
    words, figure = WORDS[minimise]
    beside = f", {units.times(ratio)} {figure} {fp32.name}" if fp32 and ratio and fp32 != fastest else ""
    return f"{words}: {fastest.name}{beside}{_not_told_apart(report, fastest.name)}"


def _not_told_apart(report: Report, fastest: str) -> str:
    pairs = zip(report.reference_predictions, report.labels, strict=True)
    reference_top1 = sum(answer == label for answer, label in pairs) / len(report.labels)
    others = as_fast(report.artifacts, reference_top1, fastest, report.settings.minimise)
    return f"; not told apart from it, for the intervals overlap: {', '.join(others)}" if others else ""
