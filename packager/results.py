"""The table of a recipe, written into a Markdown file under the recipe's title; what else stands in the file stays."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import atomic
from runner.errors import StepError
from runner.render import base, device_line, run_line, units
from runner.render.packing import pruning_blocks
from runner.render.page import Page, Table, as_markdown, drop_empty_columns
from runner.render.units import Scale
from runner.report import ArtifactReport, Report
from runner.stats.paired import paired_difference

COVERAGE = 0.95


def check(path: Path) -> None:
    """Raise StepError, before long work, for a file that a table could not be written into after it."""
    _read(path)


def write(path: Path, title: str, reports: Sequence[Report]) -> None:
    """Put the table of the reports under its title, in place of an older one. Raises StepError."""
    put(path, title, page(reports))


def put(path: Path, title: str, found: Page) -> None:
    """Put a page under its title, in place of an older one. Raises StepError."""
    section = f"## {title}\n\n{as_markdown(found)}"
    atomic.write(path, _replaced(_read(path), title, section))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    except (OSError, UnicodeDecodeError) as error:
        raise StepError(f"cannot be read: {error}", where=str(path), advice="--results another/file.md") from None


def page(reports: Sequence[Report]) -> Page:
    """Return a row for each artifact of each report, and the machine that they were measured on."""
    several = len({report.bundle_name for report in reports}) > 1
    artifacts = [artifact for report in reports for artifact in report.artifacts]
    timed = [artifact.latency for artifact in artifacts if artifact.latency]
    scales = _Scales(
        sizes=units.size_scale([artifact.size_bytes for artifact in artifacts]),
        times=units.time_scale([latency.median_ns for latency in timed], resolution=0.002),
    )
    rows = tuple(
        (report.bundle_name if several else "", *_cells(report, artifact, scales))
        for report in reports
        for artifact in report.artifacts
    )
    columns = (
        "bundle",
        "artifact",
        "size",
        "ratio",
        "top-1",
        "points lost",
        "interval",
        "loss",
        "SNR",
        "latency",
        "ratio",
        "interval",
    )
    table = Table(columns=columns, rows=rows, left=2)
    first = reports[0]
    words = f"{device_line(first.device)}; {run_line(first)}; {len(first.labels):,} samples."
    coverage = ", ".join(sorted({units.percent(latency.interval.confidence, 1) for latency in timed}))
    times = f"; latency is the median of the processes' medians with its interval ({coverage})" if timed else ""
    return (
        drop_empty_columns(table, units.NONE),
        f"{words} Ratios are to the fp32 ONNX file of the same bundle, and so are the points of top-1 that are lost, "
        f"with their paired interval ({units.percent(COVERAGE, 0)}){times}.",
        *(block for report in reports if report.packing for block in pruning_blocks(report, report.packing)),
        *_left_out(reports),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scales:
    """The units of the columns."""

    sizes: Scale
    times: Scale


def _cells(report: Report, artifact: ArtifactReport, scales: _Scales) -> tuple[str, ...]:
    accuracy, latency, times, fp32 = artifact.accuracy, artifact.latency, scales.times, base(report)
    ratio = latency.median_ns / fp32.latency.median_ns if latency and fp32 and fp32.latency else None
    return (
        artifact.title or artifact.name,
        scales.sizes.show(artifact.size_bytes),
        units.times(artifact.size_bytes / fp32.size_bytes if fp32 else None),
        units.percent(accuracy.top1 if accuracy else None),
        *_lost(artifact, fp32, report.labels),
        units.number(accuracy.loss if accuracy else None, 4),
        f"{accuracy.snr_db:.1f} dB" if accuracy and accuracy.snr_db is not None else units.NONE,
        times.show(latency.median_ns if latency else None),
        units.times(ratio),
        times.span(latency.interval.low, latency.interval.high) if latency else units.NONE,
    )


def _lost(artifact: ArtifactReport, fp32: ArtifactReport | None, labels: Sequence[int]) -> tuple[str, str]:
    """Return how many points of top-1 an artifact loses against fp32 on the same samples, and the interval."""
    if artifact == fp32 or artifact.accuracy is None or fp32 is None or fp32.accuracy is None:
        return units.NONE, units.NONE
    whole, mine = (
        [answer == label for answer, label in zip(given.predictions, labels, strict=True)]
        for given in (fp32.accuracy, artifact.accuracy)
    )
    interval = paired_difference(whole, mine, COVERAGE)
    lost = fp32.accuracy.top1 - artifact.accuracy.top1
    return units.points(lost), f"{units.points(interval.low)} to {units.points(interval.high)}"


def _left_out(reports: Sequence[Report]) -> Page:
    lines = [
        f"{report.bundle_name} has no {each.name}: {each.what}"
        for report in reports
        if report.packing
        for each in report.packing.left_out
    ]
    return (". ".join(lines) + ".",) if lines else ()


def _replaced(text: str, title: str, section: str) -> str:
    """Return the text with its section of that title replaced, or with the section at its end."""
    found = re.search(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    if found is None:
        return f"{text.rstrip()}\n\n{section}"
    rest = text[found.end() :]
    return text[: found.start()] + section + ("\n" + rest if rest else "")
