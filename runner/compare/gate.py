"""What two reports can be held against each other for, and why not for the rest."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from runner import verify
from runner.compare.comparison import PairClass, Place
from runner.compare.names import APART, Names
from runner.errors import ReportError
from runner.facts import DeviceFacts
from runner.reason import Reason
from runner.report import ArtifactReport, Latency, Report, Scenario

VOID_ANSWERS = frozenset({"answers-changed", "wrong-shape", "not-finite", "worker-failed"})
"""The codes of reasons that void answers; whatever else is invalid voids times."""

Sides = tuple[tuple[Place, Report], tuple[Place, Report]]


def check(host: Report, device: Report) -> None:
    """Refuse records of no use, of other samples, or that claim one bundle and cannot be of it. Raises ReportError."""
    for place, report in (("host report", host), ("device report", device)):
        problems = verify.malformed(report)
        if problems:
            raise ReportError("; ".join(problems), where=place, advice="measure again with `bench-runner`")
    if host.bundle_id != device.bundle_id:
        _check_samples(host, device)
        return
    if (host.labels, host.reference_predictions) != (device.labels, device.reference_predictions):
        raise ReportError("the two reports name one bundle, and yet do not judge the same evaluation set")
    for artifact in host.artifacts:
        other = device.artifact(artifact.name)
        if other and other.sha256 != artifact.sha256:
            raise ReportError(f"{artifact.name}: the two reports name one bundle, and yet not the same file")


def _check_samples(host: Report, device: Report) -> None:
    """Refuse reports of two bundles that are not known to be of the same samples: nothing in them could be paired."""
    ours, theirs = ((report.inputs_sha256, report.labels) for report in (host, device))
    if host.inputs_sha256 is None or ours != theirs:
        raise ReportError(
            f"not reports of the same bundle: the host's is of {host.bundle_id}, the device's of {device.bundle_id}, "
            "and they are not known to judge the same samples",
            advice="run `bench-runner` on the bundle that the host report came with",
        )


def same_device(host: Report, device: Report) -> bool:
    """Say whether both were measured on devices of one kind. No serial number is to be had."""
    return _kind(host.device) == _kind(device.device)


def _kind(facts: DeviceFacts) -> tuple[object, ...]:
    # A virtual machine is another device than the CPU below it. A container is not: its programs have that CPU.
    return (
        facts.machine,
        facts.cpu,
        facts.features,
        facts.cpus,
        facts.board,
        facts.cuda,
        facts.emulated,
        facts.hypervisor,
    )


def took_turns(host: Report, device: Report) -> bool:
    """Say whether the processes of both ran in turn, in one session: what disturbs one then disturbs the other."""
    return host.interleaved is not None and host.interleaved == device.interleaved


def pair_class(*, one_device: bool, same_file: bool) -> PairClass:
    """Return what the two sides of an artifact share."""
    if one_device:
        return "same-device"
    return "same-artifact" if same_file else "cross"


def noise_floor(report: Report) -> float:
    """Return by how much the latencies of two sessions on a report's device may differ with nothing changed."""
    return floor_of(report.device, report.noise_floor)


def floor_of(facts: DeviceFacts, measured: float | None) -> float:
    """Return the noise floor of a device, as a fraction.

    As it was measured there; otherwise what such machines are taken to have, which is more than most of them need.
    """
    if measured is not None:
        return measured
    if facts.hypervisor:
        return 0.10
    return 0.03 if facts.governor == "performance" else 0.05


def time_obstacles(place: Place, report: Report, artifact: ArtifactReport, names: Names = APART) -> Iterator[Reason]:
    """Yield why one side's figures of time and memory cannot be used for any claim."""
    invalid = [reason for reason in (*report.reasons, *artifact.reasons) if reason.level == "invalid"]
    if invalid or (artifact.latency is None and artifact.reasons):
        yield from _told(f"no latency from the {names.of(place)}", invalid or artifact.reasons)
    elif artifact.latency is None:
        detail = f"no latency from the {names.of(place)}: it was not measured"
        yield Reason(code="not-measured", level="note", detail=detail)


def other_calls(host: Report, device: Report, name: str, names: Names = APART) -> Iterator[Reason]:
    """Yield why two latencies of calls that were made in different ways have no ratio.

    Threads are no hindrance across devices: what has more cores is measured with more threads.
    """
    ours, theirs = (_calls(report, name) for report in (host, device))
    if ours is None or theirs is None:
        return
    first, second = names.at("host"), names.at("device")
    if ours.batch != theirs.batch:
        detail = f"no latency ratio: batches of {ours.batch} {first}, of {theirs.batch} {second}"
        yield Reason(code="batch", level="note", detail=detail, advice="measure both with one --batch")
    counts = {"streams": (ours.streams, theirs.streams)}
    if same_device(host, device):
        counts["threads"] = (ours.threads, theirs.threads)
    for what, (here, there) in counts.items():
        if here != there:
            noun = what if here > 1 else what.removesuffix("s")
            detail = f"no latency ratio: {here} {noun} {first}, {there} {second}"
            yield Reason(code=what, level="note", detail=detail, advice=f"measure both with the same --{what}")


def _calls(report: Report, name: str) -> Scenario | None:
    artifact = report.artifact(name)
    found: Latency | None = artifact.latency if artifact else None
    # Schema 1.1 has the threads of the run alone.
    return replace(found.scenario, threads=found.threads or report.settings.threads) if found else None


def answer_obstacles(place: Place, artifact: ArtifactReport, names: Names = APART) -> Iterator[Reason]:
    """Yield why one side's answers cannot be used for any claim."""
    void = [reason for reason in artifact.reasons if reason.level == "invalid" and reason.code in VOID_ANSWERS]
    if void or (artifact.accuracy is None and artifact.reasons):
        yield from _told(f"no answers from the {names.of(place)}", void or artifact.reasons)
    elif artifact.accuracy is None:
        detail = f"no answers from the {names.of(place)}: they were not taken"
        yield Reason(code="no-answers", level="note", detail=detail)


def _told(what: str, reasons: Iterable[Reason]) -> Iterator[Reason]:
    for reason in reasons:
        yield Reason(code=reason.code, level="note", detail=f"{what}: {reason.detail}", advice=reason.advice)
