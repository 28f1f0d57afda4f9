"""Hold what a device measured against what the host measured: a pure function, its findings data."""

from collections.abc import Iterator

from runner.compare import gate
from runner.compare import limits as stated
from runner.compare import names as sides
from runner.compare.answers import compare_answers, undecided
from runner.compare.comparison import (
    Answers,
    ArtifactComparison,
    Comparison,
    LatencyVerdict,
    Limits,
    Margins,
    Missing,
    Side,
)
from runner.compare.effort import beyond_effort, with_effort
from runner.compare.figures import Kind, blocks, deltas, process_medians
from runner.compare.latency import judge, judge_blocks
from runner.compare.unlike import unlike, without_distance
from runner.measure.latency import PLANS, TURNS
from runner.reason import Reason
from runner.report import ArtifactReport, Report


def compare(host: Report, device: Report, limits: Limits, margins: Margins = Margins()) -> Comparison:  # noqa: B008 - has no state
    """Compare two reports of one bundle, or of one evaluation set. Raises ReportError for others."""
    gate.check(host, device)
    one_device = gate.same_device(host, device)
    in_turn = gate.took_turns(host, device)
    called = sides.names(interleaved=in_turn)
    floor = 0.0 if in_turn else max(gate.noise_floor(host), gate.noise_floor(device))
    names = list(dict.fromkeys(artifact.name for report in (host, device) for artifact in report.artifacts))
    missing = tuple(gap for name in names for gap in _gaps(host, device, name))
    absent = {gap.name for gap in missing}
    artifacts = tuple(_artifact(host, device, name, margins) for name in names if name not in absent)
    verdicts = (
        *stated.judge(artifacts, missing, limits, floor, called),
        *stated.judge_latencies(names, device, limits, called),
    )
    return Comparison(
        bundle_id=host.bundle_id,
        bundle_name=host.bundle_name,
        target=host.target,
        pair="same-device" if one_device else "cross-device",
        host=_side(host),
        device=_side(device),
        limits=limits,
        margin=max(margins.latency, floor) if one_device else None,
        margins=margins,
        artifacts=artifacts,
        missing=missing,
        verdicts=verdicts,
        notes=(*unlike(host, device, called), *without_distance(artifacts)),
        violated=stated.is_missed(verdicts, limits),
        interleaved=in_turn,
    )


def _side(report: Report) -> Side:
    return Side(
        machine=report.device.machine,
        name=report.device.board or report.device.cpu,
        cpus=report.device.cpus,
        threads=report.settings.threads,
        batch=report.settings.batch,
        streams=report.settings.streams,
        effort=report.settings.effort,
        created=report.created,
        status=report.status,
        reasons=report.reasons,
        bundle_id=report.bundle_id,
        noise_floor=gate.noise_floor(report),
        floor_measured=report.noise_floor is not None,
    )


def _gaps(host: Report, device: Report, name: str) -> Iterator[Missing]:
    not_asked = Reason(code="not-measured", level="note", detail="it was not among the artifacts measured there")
    sides: gate.Sides = (("host", host), ("device", device))
    for place, report in sides:
        artifact = report.artifact(name)
        if artifact is None or (artifact.accuracy is None and artifact.latency is None):
            yield Missing(name=name, side=place, reasons=(artifact.reasons if artifact else ()) or (not_asked,))


def _artifact(host: Report, device: Report, name: str, margins: Margins) -> ArtifactComparison:
    ours, theirs = host.artifact(name), device.artifact(name)
    assert ours is not None
    assert theirs is not None
    called = sides.names(interleaved=gate.took_turns(host, device))
    one_device, same_file = gate.same_device(host, device), ours.sha256 == theirs.sha256
    timeless = (
        *gate.time_obstacles("host", host, ours, called),
        *gate.time_obstacles("device", device, theirs, called),
        *gate.other_calls(host, device, name, called),
    )
    mute = (
        *gate.answer_obstacles("host", ours, called),
        *gate.answer_obstacles("device", theirs, called),
    )
    obstacles: tuple[tuple[Kind, tuple[Reason, ...]], ...] = (("time", timeless), ("answers", mute))
    void = [kind for kind, reasons in obstacles if reasons]
    verdict = None if timeless else _latency(host, device, name, margins.latency)
    answers = None if mute else _answers(host.labels, ours, theirs, margins.accuracy)
    return ArtifactComparison(
        name=name,
        pair=gate.pair_class(one_device=one_device, same_file=same_file),
        same_file=same_file,
        deltas=deltas(ours, theirs, void, verdict),
        answers=answers,
        word=verdict.word if verdict and one_device else None,
        latency=verdict if one_device else None,
        withheld=(*timeless, *(() if timeless else _no_interval(host, device, name, verdict)), *mute),
        unsettled=(
            *(_hidden(verdict, margins.latency) if verdict and one_device else ()),
            *(beyond_effort(verdict) if verdict and one_device else ()),
            *(undecided(answers, margins.accuracy) if answers else ()),
        ),
    )


def _latency(host: Report, device: Report, name: str, margin: float) -> LatencyVerdict | None:
    ours, theirs = (artifact.latency for report in (host, device) if (artifact := report.artifact(name)))
    assert ours is not None
    assert theirs is not None
    if not gate.took_turns(host, device):
        floor = max(gate.noise_floor(host), gate.noise_floor(device))
        return with_effort(judge(process_medians(ours), process_medians(theirs), margin, floor=floor), PLANS)
    x, y = blocks(ours, theirs)
    return with_effort(judge_blocks(x, y, margin), TURNS) if x else None


def _answers(labels: tuple[int, ...], ours: ArtifactReport, theirs: ArtifactReport, margin: float) -> Answers:
    assert ours.accuracy is not None
    assert theirs.accuracy is not None
    same_file = ours.sha256 == theirs.sha256
    return compare_answers(labels, ours.accuracy, theirs.accuracy, margin, same_file=same_file)


def _no_interval(host: Report, device: Report, name: str, verdict: LatencyVerdict | None) -> Iterator[Reason]:
    """Yield why the ratio of two latencies that there are has no interval, or where no round has both is not known."""
    if verdict and verdict.interval:
        return
    ours, theirs = (artifact.latency for report in (host, device) if (artifact := report.artifact(name)))
    assert ours is not None
    assert theirs is not None
    if gate.took_turns(host, device):
        counted = f"{len(blocks(ours, theirs)[0])} rounds in which both ran"
    else:
        counted = f"{len(ours.processes)} and {len(theirs.processes)} processes"
    detail = f"no interval of the latency ratio: {counted} cannot give one of 99 %"
    advice = f"measure both again with --effort {verdict.effort}" if verdict and verdict.effort else ""
    yield Reason(code="few-processes", level="note", detail=detail, advice=advice)


def _hidden(verdict: LatencyVerdict, margin: float) -> Iterator[Reason]:
    if verdict.hidden:
        detail = (
            f"a difference of latency may hide in the noise floor of {100 * verdict.margin:.2g} %, "
            f"which is above the margin of {100 * margin:.2g} %"
        )
        advice = "bench-runner selftest, which measures the floor, or bench-runner ab, which needs none"
        yield Reason(code="noise-floor", level="note", detail=detail, advice=advice)
