"""What the machine and its state mean for the figures: reasons as data."""

from collections.abc import Iterator

from runner import install
from runner.device import cpu
from runner.facts import DeviceFacts, DeviceState
from runner.install import Interpreter
from runner.manifest import Artifact, Target
from runner.reason import Reason
from runner.runtimes import KNOWN, missing


def machine_reasons(facts: DeviceFacts, target: Target) -> tuple[Reason, ...]:
    """Return what there is to say of any latency taken on this machine for that target."""
    if facts.machine == target.machine:
        return fact_reasons(facts)
    detail = f"measured on {facts.machine}, the target is {target.machine}: latency here says nothing about it"
    other = Reason(code="other-machine", level="note", detail=detail, advice="measure on the target")
    return (other, *fact_reasons(facts))


def fact_reasons(facts: DeviceFacts) -> tuple[Reason, ...]:
    """Return what there is to say of any latency taken on this machine, whatever the target."""
    found = list(emulation(facts))
    if facts.hypervisor:
        detail = f"this is a {facts.virtual}: neighbours that nobody sees may slow it down"
        found.append(Reason(code="virtual", level="caveat", detail=detail, advice="measure on bare metal"))
    elif facts.virtual:
        detail = f"this is a {facts.virtual}: what runs beside it on this machine may slow it down"
        found.append(Reason(code="container", level="note", detail=detail))
    if facts.governor and facts.governor != "performance":
        detail = f"the CPU frequency governor is {facts.governor!r}: the clock may follow the load"
        advice = "as root: cpupower frequency-set -g performance"
        found.append(Reason(code="governor", level="caveat", detail=detail, advice=advice))
    return tuple(found)


def emulation(facts: DeviceFacts) -> Iterator[Reason]:
    """Yield why no latency of this machine counts, where another one only plays it."""
    if facts.emulated:
        detail = (
            f"this machine is emulated ({facts.emulated}): latency means nothing, answers are still worth something"
        )
        yield Reason(code="emulated", level="invalid", detail=detail, advice="measure on the real machine")


def state_reasons(before: DeviceState, after: DeviceState) -> tuple[Reason, ...]:
    """Return what the machine's state before and after says of the figures."""
    if not (before.throttled or after.throttled):
        return ()
    when = "before" if before.throttled else "after"
    detail = f"the board says {when} the measurement that heat or low voltage slows it down"
    return (Reason(code="throttled", level="invalid", detail=detail, advice="a better cooler or power supply"),)


def obstacle(artifact: Artifact, facts: DeviceFacts, python: Interpreter, *, stand_in: bool) -> Reason | None:
    """Return why this machine cannot run an artifact, or None where it can; `stand_in` lets a CPU take CUDA's place."""
    if artifact.machines and facts.machine not in artifact.machines:
        detail = f"runs on {' or '.join(artifact.machines)}, and this machine is {facts.machine}"
        return Reason(code="wrong-machine", level="note", detail=detail)
    if detail := cpu.lacking(artifact.instructions, facts.features):
        return Reason(code="wrong-cpu", level="note", detail=detail)
    runtime = next((runtime for runtime in facts.runtimes if runtime.format == artifact.format), None)
    if runtime is None or runtime.version is None:
        packages = missing(artifact.format) or (KNOWN[artifact.format].package,)
        if artifact.device == "cuda" and artifact.format == "onnx":
            packages = ("onnxruntime-gpu",)
        remedy = install.remedy(packages, python)
        told = f"{' and '.join(packages)} {'are' if len(packages) > 1 else 'is'} not installed here"
        detail = f"{told}, and cannot be: {remedy.problem}" if remedy.problem else told
        return Reason(code="no-runtime", level="note", detail=detail, advice=remedy.advice)
    if artifact.device == "cuda" and not facts.cuda and not stand_in:
        return Reason(code="no-cuda", level="note", detail="runs on CUDA, and there is no CUDA device here")
    return None


def no_device(target: Target, facts: DeviceFacts) -> Reason:
    """Return what is said of an artifact for CUDA that a CPU stood in for."""
    why = "the runtime here cannot use" if facts.cuda else "this machine does not have"
    detail = (
        f"latency and answers could not be taken on this target's device ({target.device}), which {why}: "
        "the answers shown are those of this machine's CPU"
    )
    return Reason(code="no-device", level="caveat", detail=detail, advice="run bench-runner on the target")
