"""Hold a report against itself: every summary must follow from the raw samples beside it."""

import math
from collections.abc import Iterator, Mapping, Sequence

from runner.measure import latency
from runner.measure.disturbance import disturbances
from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, Flip, Latency, Report

TOLERANCE = 1e-9
"""Relative: sums may be taken in another order than they were when the report was made."""
SINCE_1_2 = ("p99_ns", "device_ns", "steadiness.not_steady", "steadiness.lag1", "steadiness.effective_n")


def malformed(report: Report) -> tuple[str, ...]:
    """Return, as `path: problem`, where the record itself is of no use: lists of unequal length, times not positive."""
    samples = len(report.labels)
    problems = list(_lengths("reference_predictions", report.reference_predictions, samples))
    for artifact in report.artifacts:
        if artifact.accuracy:
            problems += _malformed_accuracy(f"{artifact.name}: accuracy", artifact.accuracy, samples)
        for path, each in _latencies(artifact):
            problems += _malformed_latency(path, each)
    return tuple(problems)


def contradictions(report: Report) -> tuple[str, ...]:
    """Return, as `path: reported x, the record gives y`, every summary that is not what the raw samples give."""
    problems = malformed(report)
    if problems:
        return problems
    found = [problem for artifact in report.artifacts for problem in _artifact_contradictions(report, artifact)]
    measured = {artifact.name for artifact in report.artifacts if artifact.latency}
    if report.fastest is not None and report.fastest not in measured:
        found.append(f"fastest: reported {report.fastest}, which has no latency")
    return tuple(found)


def _latencies(artifact: ArtifactReport) -> Iterator[tuple[str, Latency]]:
    if artifact.latency:
        yield f"{artifact.name}: latency", artifact.latency
    for index, each in enumerate(artifact.scenarios):
        yield f"{artifact.name}: scenarios[{index}]", each


def _lengths(path: str, values: Sequence[float], samples: int) -> Iterator[str]:
    if len(values) != samples or not samples:
        yield f"{path}: {len(values)} values for {samples} labels"


def _malformed_accuracy(path: str, accuracy: Accuracy, samples: int) -> Iterator[str]:
    yield from _lengths(f"{path}.predictions", accuracy.predictions, samples)
    yield from _lengths(f"{path}.label_ranks", accuracy.label_ranks, samples)
    yield from _lengths(f"{path}.losses", accuracy.losses, samples)
    if any(not 0 <= flip.sample < samples for flip in accuracy.flips):
        yield f"{path}.flips: a sample that is not there"


def _malformed_latency(path: str, latency: Latency) -> Iterator[str]:
    if not latency.processes:
        yield f"{path}.processes: none"
    for index, process in enumerate(latency.processes):
        if not process.samples_ns or min(process.samples_ns) <= 0:
            yield f"{path}.processes[{index}].samples_ns: none, or not all positive"


def _artifact_contradictions(report: Report, artifact: ArtifactReport) -> Iterator[str]:
    if artifact.accuracy:
        yield from _accuracy_contradictions(f"{artifact.name}: accuracy", artifact.accuracy, report)
    for path, each in _latencies(artifact):
        yield from _latency_contradictions(path, each)
        yield from _unsaid(path, each, (*artifact.reasons, *each.reasons))
    total = sum(operator.mean_ns for operator in artifact.operators)
    for index, operator in enumerate(artifact.operators):
        shares = {"share": (operator.share, operator.mean_ns / total if total else 0.0)}
        yield from _differences(f"{artifact.name}: operators[{index}]", shares)
    if artifact.latency:
        figures = {"peak_bytes": (artifact.peak_bytes, latency.peak_bytes(artifact.latency.processes))}
        yield from _differences(artifact.name, figures)


def _accuracy_contradictions(path: str, accuracy: Accuracy, report: Report) -> Iterator[str]:
    samples = len(report.labels)
    figures = {
        "samples": (accuracy.samples, samples),
        "top1": (accuracy.top1, _share_equal(accuracy.predictions, report.labels)),
        "loss": (accuracy.loss, math.fsum(accuracy.losses) / samples),
        "agreement": (accuracy.agreement, _share_equal(accuracy.predictions, report.reference_predictions)),
    }
    if accuracy.top5 is not None:
        figures["top5"] = (accuracy.top5, sum(rank < 5 for rank in accuracy.label_ranks) / samples)
    yield from _differences(path, figures)
    if accuracy.identical_to_host and (accuracy.flips or accuracy.max_abs_difference):
        yield f"{path}.identical_to_host: reported true, beside flips or a difference"
    for flip in accuracy.flips:
        if not _flip_fits(flip, accuracy, report):
            yield f"{path}.flips: sample {flip.sample}: not what its label and its prediction say"


def _flip_fits(flip: Flip, accuracy: Accuracy, report: Report) -> bool:
    answers = (report.labels[flip.sample], accuracy.predictions[flip.sample])
    return answers == (flip.label, flip.device) and flip.host != flip.device


def _latency_contradictions(path: str, reported: Latency) -> Iterator[str]:
    computed = latency.latency(latency.timings(reported))
    assert computed is not None  # a record without processes is malformed, and has been refused
    given, found = _latency_figures(reported), _latency_figures(computed)
    if reported.threads is None:  # of schema 1.1, which knew less
        given = {name: figure for name, figure in given.items() if name not in SINCE_1_2}
    yield from _differences(path, {name: (given[name], found[name]) for name in given})


def _unsaid(path: str, reported: Latency, reasons: Sequence[Reason]) -> Iterator[str]:
    """Yield what voids the figures by the record, and not by the reasons."""
    said = {reason.code for reason in reasons}
    for reason in disturbances(reported.processes):
        if reason.level == "invalid" and reason.code not in said:
            yield f"{path}: the record gives the reason {reason.code!r}, and none is reported: {reason.detail}"


def _latency_figures(summary: Latency) -> dict[str, float | None]:
    return {
        "median_ns": summary.median_ns,
        "interval.low": summary.interval.low,
        "interval.high": summary.interval.high,
        "interval.confidence": summary.interval.confidence,
        "p95_ns": summary.p95_ns,
        "p99_ns": summary.p99_ns,
        "throughput_per_s": summary.throughput_per_s,
        "load_ns": summary.load_ns,
        "first_ns": summary.first_ns,
        "device_ns": summary.device_ns,
        "steadiness.not_steady": summary.steadiness.not_steady if summary.steadiness else None,
        "steadiness.lag1": summary.steadiness.lag1 if summary.steadiness else None,
        "steadiness.effective_n": summary.steadiness.effective_n if summary.steadiness else None,
    }


def _share_equal(left: Sequence[int], right: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _differences(path: str, figures: Mapping[str, tuple[float | None, float | None]]) -> Iterator[str]:
    for name, (reported, computed) in figures.items():
        if reported is None or computed is None:
            same = reported is computed
        else:
            same = math.isclose(reported, computed, rel_tol=TOLERANCE)
        if not same:
            yield f"{path}.{name}: reported {_shown(reported)}, the record gives {_shown(computed)}"


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.10g}"
