"""In which order the artifacts of a bundle are tried: by what is preferred, by measured latency, then by a rule."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from runner.bundle import Bundle
from runner.device.forecast import forecast
from runner.facts import DeviceFacts
from runner.fastest import accurate, cost, holds
from runner.loading.preference import Preference
from runner.manifest import Artifact, Target
from runner.report import ArtifactReport, Report

RULE = "integers first, where this CPU gains by them, then by what the runtimes are known for on such a machine"
ALIKE = 0.95
"""Of the memory of another machine of the same kind: kernels keep some, not all alike."""
RUNTIMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "aarch64": ("litert", "executorch", "onnx", "openvino", "torchscript"),
        "x86_64": ("openvino", "onnx", "torchscript", "executorch", "litert"),
    }
)
"""Formats, the fastest runtime first: on ARM the XNNPACK ones by Arm's own figures, on x86 by ours of 14 networks."""
NOT_HELD = "its answers on the host were too far from those of the fp32 model"


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """An artifact, and why it is tried when it is."""

    artifact: Artifact
    reason: str
    advice: str = ""
    refused: str = ""
    """Why it is not to be used, whatever runs here."""
    ran_here: bool = False
    """A report of this very machine says so: nobody need see first whether it kills its process."""


def ranking(bundle: Bundle, wanted: Preference, facts: DeviceFacts) -> tuple[Candidate, ...]:
    """Return every artifact of a bundle once, the one to be tried first before the others."""
    host = bundle.host_summary()
    ran = {name for each in (host, wanted.report) if each for name in _ran_here(each, facts)}
    found: dict[str, Candidate] = {}
    for candidate in (
        *_preferred(bundle, wanted, facts),
        *_on_host(bundle, host, facts),
        *_by_rule(bundle, host, facts),
    ):
        found.setdefault(candidate.artifact.name, replace(candidate, ran_here=candidate.artifact.name in ran))
    return tuple(found.values())


def _ran_here(found: Report, facts: DeviceFacts) -> Iterator[str]:
    """Yield the artifacts that were timed on this very machine, each by the runtime that is on it now."""
    theirs = found.device
    if (theirs.cpu, theirs.machine, theirs.features) != (facts.cpu, facts.machine, facts.features):
        return
    # On a smaller board of the same kind it may run out of memory.
    if theirs.memory_bytes is None or facts.memory_bytes is None or facts.memory_bytes < theirs.memory_bytes * ALIKE:
        return
    same = {each.format for each in theirs.runtimes if each in facts.runtimes}
    for each in found.artifacts:
        if each.latency and not each.latency.failures and each.format in same:
            yield each.name


def _preferred(bundle: Bundle, wanted: Preference, facts: DeviceFacts) -> Iterator[Candidate]:
    artifact = bundle.manifest.artifact(wanted.name) if wanted.name else None
    if artifact:
        yield Candidate(artifact=artifact, reason="preferred by its name")
    if wanted.report:
        yield from _measured(bundle, wanted.report, wanted.source, facts, "")


def _on_host(bundle: Bundle, host: Report | None, facts: DeviceFacts) -> Iterator[Candidate]:
    # Latency is of one machine: of another architecture it says nothing, of another CPU something.
    if host and host.device.machine == facts.machine:
        yield from _measured(bundle, host, "the host's report", facts, _measure_here(bundle))


def _measured(bundle: Bundle, found: Report, source: str, facts: DeviceFacts, advice: str) -> Iterator[Candidate]:
    """Yield the artifacts whose answers held in a report, by what it minimised; none where its figures are void."""
    if found.fastest is None:
        return
    theirs = (found.device.cpu, found.device.machine)
    elsewhere = "" if theirs == (facts.cpu, facts.machine) else f", measured on {', '.join(theirs)}"
    timed = {
        each.name: cost(each.latency, found.settings.minimise).median_ns
        for each in found.artifacts
        if each.latency and holds(each, _reference_top1(found))
    }
    for name in sorted(timed, key=lambda name: (name != found.fastest, timed[name])):
        artifact = bundle.manifest.artifact(name)
        place = "the fastest" if name == found.fastest else "the next by latency"
        if artifact:
            reason = f"{place} in {source}{elsewhere}"
            yield Candidate(artifact=artifact, reason=reason, advice=advice if elsewhere else "")


def _by_rule(bundle: Bundle, host: Report | None, facts: DeviceFacts) -> Iterator[Candidate]:
    """Yield all artifacts, those first that should be fast here."""
    target = bundle.manifest.target
    judged = {each.name: each for each in host.artifacts} if host else {}
    reason = f"by rule, for no latency in the host's report says anything of it on this machine: {RULE}"
    for artifact in sorted(bundle.manifest.artifacts, key=lambda artifact: _expected(artifact, target, facts)):
        yield Candidate(
            artifact=artifact,
            reason=reason,
            advice=_measure_here(bundle),
            refused="" if _may_be_used(judged.get(artifact.name), host) else NOT_HELD,
        )


def _may_be_used(found: ArtifactReport | None, host: Report | None) -> bool:
    if found is None or host is None or found.accuracy is None:
        return True
    return accurate(found.accuracy, _reference_top1(host))


def _expected(artifact: Artifact, target: Target, facts: DeviceFacts) -> tuple[int, int]:
    """Return a rank by arithmetic, and one by runtime: the lower the faster."""
    order = RUNTIMES.get(facts.machine, ())
    runtime = order.index(artifact.format) if artifact.format in order else len(order)
    # Weights alone in int8 or int4 are widened again; half precision pays on a GPU.
    plain = {"int8": 0, "fp32": 1}.get(artifact.precision, 2)
    if artifact.device == "cuda" and artifact.precision == "fp16":
        plain = 0
    doubtful = artifact.precision == "int8" and forecast(artifact, facts, target).reasons
    return (2 if doubtful else plain), runtime


def _reference_top1(found: Report) -> float:
    pairs = zip(found.reference_predictions, found.labels, strict=True)
    return sum(answer == label for answer, label in pairs) / len(found.labels)


def _measure_here(bundle: Bundle) -> str:
    return f"bench-runner {bundle.path} -o report.json, and prefer='report.json'"
