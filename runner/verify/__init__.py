"""Hold a report against itself: every summary, and every reason that voids one, must follow from the raw samples."""

from collections.abc import Iterator, Sequence

from runner import __version__
from runner.errors import ReportError
from runner.fastest import fastest
from runner.measure import latency
from runner.report import Accuracy, ArtifactReport, Latency, Report
from runner.verify.answers import accuracy_contradictions, share_equal
from runner.verify.differences import differences
from runner.verify.reasons import unsaid_of_artifact, unsaid_of_run
from runner.verify.times import latency_contradictions

BEFORE_REASONS = ("1.0", "1.1")
"""Schemas whose reports were not made to give every reason that follows from their record."""
UNPROVEN = "signal to noise, distances and flips from the host, joules"
"""What only logits or a meter could show, and a report has neither."""


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
    """Return, as `path: reported x, the record gives y`, whatever is not what the raw samples and the facts give."""
    problems = malformed(report)
    if problems:
        return problems
    found = [problem for artifact in report.artifacts for problem in _artifact_contradictions(report, artifact)]
    if gives_reasons(report):
        found += unsaid_of_run(report)
    found += _fastest_contradictions(report)
    return tuple(found)


def hold(report: Report, where: str) -> None:
    """Raise ReportError where figures do not follow from the record; `where` names the report in it."""
    problems = contradictions(report)
    if problems:
        raise ReportError("\n  ".join(("figures do not follow from the record:", *problems)), where=where)


def gives_reasons(report: Report) -> bool:
    """Say whether the reasons, and with them the fastest, follow from the record by the rules of this edgepack."""
    return report.schema not in BEFORE_REASONS and report.edgepack == __version__


def unproven(report: Report) -> str:
    """Return, in a few words, what was not held against the record."""
    if gives_reasons(report):
        return UNPROVEN
    other = f"schema {report.schema}" if report.schema in BEFORE_REASONS else f"rules of edgepack {report.edgepack}"
    return f"{UNPROVEN}; and with {other} the reasons and the fastest"


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
        yield from accuracy_contradictions(f"{artifact.name}: accuracy", artifact.accuracy, report)
    for path, each in _latencies(artifact):
        yield from latency_contradictions(path, each, knows_all=gives_reasons(report))
    if gives_reasons(report):
        yield from unsaid_of_artifact(artifact, report)
        yield from _scenario_contradictions(report, artifact)
    total = sum(operator.mean_ns for operator in artifact.operators)
    for index, operator in enumerate(artifact.operators):
        shares = {"share": (operator.share, operator.mean_ns / total if total else 0.0)}
        yield from differences(f"{artifact.name}: operators[{index}]", shares)
    if artifact.latency:
        figures = {"peak_bytes": (artifact.peak_bytes, latency.peak_bytes(artifact.latency.processes))}
        yield from differences(artifact.name, figures)


def _scenario_contradictions(report: Report, artifact: ArtifactReport) -> Iterator[str]:
    asked = report.settings
    if artifact.latency and artifact.latency.scenario != asked.scenario:
        yield f"{artifact.name}: latency: of {artifact.latency.scenario.words}, the settings say {asked.scenario.words}"
    for index, each in enumerate(artifact.scenarios):
        if each.scenario not in asked.more:
            yield f"{artifact.name}: scenarios[{index}]: of {each.scenario.words}, which the settings have not"


def _fastest_contradictions(report: Report) -> Iterator[str]:
    measured = {artifact.name for artifact in report.artifacts if artifact.latency}
    if report.fastest is not None and report.fastest not in measured:
        yield f"fastest: reported {report.fastest}, which has no latency"
    elif gives_reasons(report):
        reference_top1 = share_equal(report.reference_predictions, report.labels)
        found = fastest(report.artifacts, reference_top1, report.reasons, report.settings.minimise)
        if found != report.fastest:
            yield f"fastest: reported {report.fastest or 'none'}, the record gives {found or 'none'}"
