"""Hold what a device measured against what the host measured, of one bundle: a pure function, its findings data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from runner import stats, verify
from runner.compare import limits as stated
from runner.compare.comparison import (
    AnswerFlip,
    Answers,
    ArtifactComparison,
    Comparison,
    Delta,
    Limits,
    Missing,
    Pair,
    Place,
    Side,
    Unit,
    Word,
)
from runner.errors import ReportError
from runner.interval import Interval
from runner.report import ArtifactReport, DeviceFacts, Latency, Reason, Report

MARGIN = 0.02
"""A change of latency on one device that is smaller is of no interest, however sure it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """A figure by which two reports are compared."""

    name: str
    unit: Unit
    read: Callable[[ArtifactReport], float | None]
    timed: bool = False
    """Whether it is void where the measurement of time is."""


METRICS = (
    Metric(name="size", unit="bytes", read=lambda it: it.size_bytes),
    Metric(name="top1", unit="fraction", read=lambda it: it.accuracy.top1 if it.accuracy else None),
    Metric(name="top5", unit="fraction", read=lambda it: it.accuracy.top5 if it.accuracy else None),
    Metric(name="loss", unit="nats", read=lambda it: it.accuracy.loss if it.accuracy else None),
    Metric(name="latency", unit="ns", read=lambda it: it.latency.median_ns if it.latency else None, timed=True),
    Metric(name="load", unit="ns", read=lambda it: it.latency.load_ns if it.latency else None, timed=True),
    Metric(name="first", unit="ns", read=lambda it: it.latency.first_ns if it.latency else None, timed=True),
    Metric(name="peak", unit="bytes", read=lambda it: it.peak_bytes, timed=True),
)


def compare(host: Report, device: Report, limits: Limits) -> Comparison:
    """Compare two reports of one bundle. Raises ReportError where they are not, or where a record is of no use."""
    _check_pair(host, device)
    pair: Pair = "same-device" if _kind(host.device) == _kind(device.device) else "cross-device"
    margin = max(MARGIN, _noise_floor(host.device), _noise_floor(device.device)) if pair == "same-device" else None
    names = list(dict.fromkeys(artifact.name for report in (host, device) for artifact in report.artifacts))
    missing = tuple(gap for name in names for gap in _gaps(host, device, name))
    absent = {gap.name for gap in missing}
    artifacts = tuple(_artifact(host, device, name, margin) for name in names if name not in absent)
    verdicts = tuple(stated.judge(artifacts, missing, limits))
    return Comparison(
        bundle_id=host.bundle_id,
        bundle_name=host.bundle_name,
        target=host.target,
        pair=pair,
        host=_side(host),
        device=_side(device),
        limits=limits,
        margin=margin,
        artifacts=artifacts,
        missing=missing,
        verdicts=verdicts,
        notes=tuple(_unlike(host, device)),
        violated=stated.is_missed(verdicts, limits),
    )


def _check_pair(host: Report, device: Report) -> None:
    if host.bundle_id != device.bundle_id:
        raise ReportError(
            f"not reports of the same bundle: the host's is of {host.bundle_id}, the device's of {device.bundle_id}",
            advice="run `bench-runner` on the bundle that the host report came with",
        )
    for place, report in (("host report", host), ("device report", device)):
        problems = verify.malformed(report)
        if problems:
            raise ReportError("; ".join(problems), where=place, advice="measure again with `bench-runner`")
    if (host.labels, host.reference_predictions) != (device.labels, device.reference_predictions):
        raise ReportError("the two reports name one bundle, and yet do not judge the same evaluation set")
    for artifact in host.artifacts:
        other = device.artifact(artifact.name)
        if other and other.sha256 != artifact.sha256:
            raise ReportError(f"{artifact.name}: the two reports name one bundle, and yet not the same file")


def _kind(facts: DeviceFacts) -> tuple[object, ...]:
    """Return what two reports share when they are of devices of one kind. No serial number is to be had."""
    return (facts.machine, facts.cpu, facts.features, facts.cpus, facts.board, facts.cuda, facts.emulated)


def _noise_floor(facts: DeviceFacts) -> float:
    """Return how much latency may differ between two sessions on one device, as a fraction, until it is measured."""
    if facts.virtual:
        return 0.10
    return 0.03 if facts.governor == "performance" else 0.05


def _side(report: Report) -> Side:
    return Side(
        machine=report.device.machine,
        name=report.device.board or report.device.cpu,
        cpus=report.device.cpus,
        threads=report.settings.threads,
        batch=report.settings.batch,
        effort=report.settings.effort,
        created=report.created,
        status=report.status,
        reasons=report.reasons,
    )


def _gaps(host: Report, device: Report, name: str) -> Iterator[Missing]:
    not_asked = Reason(code="not-measured", level="note", detail="it was not among the artifacts measured there")
    sides: tuple[tuple[Place, Report], ...] = (("host", host), ("device", device))
    for place, report in sides:
        artifact = report.artifact(name)
        if artifact is None or (artifact.accuracy is None and artifact.latency is None):
            yield Missing(name=name, side=place, reasons=(artifact.reasons if artifact else ()) or (not_asked,))


def _artifact(host: Report, device: Report, name: str, margin: float | None) -> ArtifactComparison:
    ours, theirs = host.artifact(name), device.artifact(name)
    assert ours is not None
    assert theirs is not None
    void = tuple(_timing_void(host, device, ours, theirs))
    deltas = tuple(_delta(metric, ours, theirs, void=bool(void) and metric.timed) for metric in METRICS)
    interval = next(delta.interval for delta in deltas if delta.metric == "latency")
    few = () if void or interval else (_few_processes(ours, theirs),)
    answers = _answers(host.labels, ours, theirs)
    return ArtifactComparison(
        name=name,
        deltas=deltas,
        answers=answers,
        word=None if margin is None or void else _word(interval, margin),
        withheld=(*void, *few, *(() if answers else _no_answers(ours, theirs))),
    )


def _timing_void(host: Report, device: Report, ours: ArtifactReport, theirs: ArtifactReport) -> Iterator[Reason]:
    """Yield why figures of time and memory cannot be held against each other."""
    for place, report, artifact in (("host", host, ours), ("device", device, theirs)):
        invalid = [reason for reason in (*report.reasons, *artifact.reasons) if reason.level == "invalid"]
        for reason in invalid or (artifact.reasons if artifact.latency is None else ()):
            detail = f"no latency from the {place}: {reason.detail}"
            yield Reason(code=reason.code, level="note", detail=detail, advice=reason.advice)
        if artifact.latency is None and not invalid and not artifact.reasons:
            yield Reason(code="not-measured", level="note", detail=f"no latency from the {place}: it was not measured")
    if ours.latency and theirs.latency and ours.latency.batch != theirs.latency.batch:
        batches = f"batches of {ours.latency.batch} on the host, of {theirs.latency.batch} on the device"
        yield Reason(
            code="batch", level="note", detail=f"no latency ratio: {batches}", advice="measure both with one --batch"
        )


def _delta(metric: Metric, ours: ArtifactReport, theirs: ArtifactReport, *, void: bool) -> Delta:
    host, device = (None, None) if void else (metric.read(ours), metric.read(theirs))
    if host is None or device is None:
        return Delta(metric=metric.name, unit=metric.unit, host=host, device=device, difference=None, ratio=None)
    ratio, interval = device / host if host else None, None
    if metric.name == "latency" and ours.latency and theirs.latency:
        ratio, interval = stats.hodges_lehmann_ratio(_process_medians(ours.latency), _process_medians(theirs.latency))
    return Delta(
        metric=metric.name,
        unit=metric.unit,
        host=host,
        device=device,
        difference=device - host,
        ratio=ratio,
        interval=interval,
    )


def _process_medians(latency: Latency) -> list[float]:
    return [stats.median(process.samples_ns) for process in latency.processes]


def _few_processes(ours: ArtifactReport, theirs: ArtifactReport) -> Reason:
    host, device = (len(it.latency.processes) if it.latency else 0 for it in (ours, theirs))
    return Reason(
        code="few-processes",
        level="note",
        detail=f"no interval of the latency ratio: {host} and {device} processes cannot give one of 99 %",
        advice="measure 5 processes or more on each side",
    )


def _no_answers(ours: ArtifactReport, theirs: ArtifactReport) -> Iterator[Reason]:
    for place, artifact in (("host", ours), ("device", theirs)):
        if artifact.accuracy is None:
            told = "; ".join(reason.detail for reason in artifact.reasons) or "they were not taken"
            yield Reason(code="no-answers", level="note", detail=f"no answers from the {place}: {told}")


def _word(interval: Interval | None, margin: float) -> Word:
    if interval is None:
        return "inconclusive"
    low, high = 1 / (1 + margin), 1 + margin
    if interval.low > high:
        return "slower"
    if interval.high < low:
        return "faster"
    return "equivalent" if low <= interval.low and interval.high <= high else "inconclusive"


def _answers(labels: tuple[int, ...], ours: ArtifactReport, theirs: ArtifactReport) -> Answers | None:
    if ours.accuracy is None or theirs.accuracy is None:
        return None
    margins = {(f.sample, f.host, f.device): (f.host_margin, f.device_margin) for f in theirs.accuracy.flips}
    rows = enumerate(zip(labels, ours.accuracy.predictions, theirs.accuracy.predictions, strict=True))
    flips = tuple(
        AnswerFlip(sample=sample, label=label, host=a, device=b, host_margin=lead[0], device_margin=lead[1])
        for sample, (label, a, b) in rows
        if a != b
        for lead in (margins.get((sample, a, b), (None, None)),)
    )
    return Answers(
        samples=len(labels),
        agreement=1 - len(flips) / len(labels),
        right_to_wrong=sum(flip.host == flip.label for flip in flips),
        wrong_to_right=sum(flip.device == flip.label for flip in flips),
        flips=flips,
    )


def _unlike(host: Report, device: Report) -> Iterator[Reason]:
    """Yield what was not alike in the two measurements, and may explain what differs."""
    for place, report in (("host", host), ("device", device)):
        if not report.complete:
            yield Reason(
                code="interrupted", level="caveat", detail=f"the {place}'s run was interrupted: it is not whole"
            )
    for what in ("threads", "effort"):
        ours, theirs = getattr(host.settings, what), getattr(device.settings, what)
        if ours != theirs:
            yield Reason(code=what, level="note", detail=f"{what}: {ours} on the host, {theirs} on the device")
    for artifact in host.artifacts:
        other = device.artifact(artifact.name)
        if artifact.runtime and other and other.runtime and _runtime(artifact) != _runtime(other):
            detail = f"{artifact.name}: {_runtime(artifact)} on the host, {_runtime(other)} on the device"
            yield Reason(code="runtime", level="note", detail=detail)


def _runtime(artifact: ArtifactReport) -> str:
    runtime = artifact.runtime
    return f"{runtime.name} {runtime.version}, {runtime.provider}" if runtime else ""
