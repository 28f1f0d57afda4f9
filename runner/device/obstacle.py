"""Why a machine cannot run an artifact, as far as that is known without trying."""

from runner import install
from runner.device import cpu
from runner.facts import DeviceFacts
from runner.install import Interpreter
from runner.manifest import Artifact
from runner.reason import Reason
from runner.runtimes import KNOWN, missing


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
