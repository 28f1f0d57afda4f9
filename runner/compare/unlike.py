"""What was not alike in two measurements, and may explain what differs; and what is not compared at all."""

from collections.abc import Iterator, Sequence

from runner.compare import gate
from runner.compare.comparison import ArtifactComparison
from runner.compare.names import Names
from runner.facts import DeviceFacts, Gpu
from runner.reason import Reason
from runner.report import ArtifactReport, Report


def unlike(host: Report, device: Report, called: Names) -> Iterator[Reason]:
    """Yield what was not alike in the two measurements, and may explain what differs."""
    here, there = called.at("host"), called.at("device")
    if host.bundle_id != device.bundle_id:
        detail = (
            f"two bundles: {host.bundle_name} {host.bundle_id[:12]} {here}, "
            f"{device.bundle_name} {device.bundle_id[:12]} {there}"
        )
        yield Reason(code="two-bundles", level="note", detail=detail)
    for name, report in ((called.host, host), (called.device, device)):
        if not report.complete:
            detail = f"the {name}'s run was interrupted: it is not whole"
            yield Reason(code="interrupted", level="caveat", detail=detail)
    for what in ("threads", "effort"):
        ours, theirs = getattr(host.settings, what), getattr(device.settings, what)
        if ours != theirs:
            yield Reason(code=what, level="note", detail=f"{what}: {ours} {here}, {theirs} {there}")
    for artifact in host.artifacts:
        other = device.artifact(artifact.name)
        if artifact.runtime and other and other.runtime and _runtime(artifact) != _runtime(other):
            detail = f"{artifact.name}: {_runtime(artifact)} {here}, {_runtime(other)} {there}"
            yield Reason(code="runtime", level="note", detail=detail)
    if gate.same_device(host, device):
        yield from _conditions(host.device, device.device, called)


def _runtime(artifact: ArtifactReport) -> str:
    runtime = artifact.runtime
    return f"{runtime.name} {runtime.version}, {runtime.provider}" if runtime else ""


def _conditions(ours: DeviceFacts, theirs: DeviceFacts, called: Names) -> Iterator[Reason]:
    """Yield what was set otherwise on devices of one kind; different devices differ in all of it."""
    here, there = called.at("host"), called.at("device")
    both = (_settings(ours), _settings(theirs))
    for what in dict.fromkeys((*both[0], *both[1])):
        first, second = (side.get(what, "not set") for side in both)
        if first != second:
            yield Reason(code="conditions", level="note", detail=f"{what}: {first} {here}, {second} {there}")


def _settings(facts: DeviceFacts) -> dict[str, str]:
    """Return what a person may set on a machine, and it changes times, in words."""
    return {
        "governor": facts.governor or "unknown",
        "CPU quota": "none" if facts.cpu_quota is None else f"{facts.cpu_quota:g} CPUs",
        "affinity": f"CPU {', '.join(map(str, facts.affinity))}",
        "virtual": facts.virtual or "no",
        "system": facts.system,
        "Python": facts.python,
        **_gpu_settings(facts.gpu),
        **facts.environment,
    }


def _gpu_settings(gpu: Gpu | None) -> dict[str, str]:
    if gpu is None:
        return {}
    limit = "unknown" if gpu.power_limit_w is None else f"{gpu.power_limit_w:g} W"
    switches = {"ECC": gpu.ecc, "MIG": gpu.mig, "persistence mode": gpu.persistence}
    return {
        "NVIDIA driver": gpu.driver or "unknown",
        "power limit of the GPU": limit,
        **{name: "unknown" if on is None else "on" if on else "off" for name, on in switches.items()},
    }


def without_distance(artifacts: Sequence[ArtifactComparison]) -> Iterator[Reason]:
    """Yield of which artifacts the answers are compared and the logits are not, and why."""
    bare = [artifact for artifact in artifacts if artifact.answers and artifact.answers.distance is None]
    for same_file, detail in (
        (False, "two different files, whose logits are not compared beyond the flips"),
        (True, "no distance between the logits, for neither side has those of the host that packed it"),
    ):
        found = [artifact.name for artifact in bare if artifact.same_file == same_file]
        if found:
            yield Reason(code="no-distance", level="note", detail=f"{', '.join(found)}: {detail}")
