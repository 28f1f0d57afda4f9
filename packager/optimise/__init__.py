"""The search, by measured latency, for what of an int8 ONNX file stays in fp32: what no search can give.

Light: what cannot be meant is told before the libraries load.
"""

from collections.abc import Iterator

from packager import candidates
from packager.candidates import OPTIMISED
from packager.recipe import Optimise, Quantize, Recipe, ways
from runner.facts import DeviceFacts
from runner.manifest import Target

MAX_DROP = 1.0
"""Points of top-1 that may be lost where the recipe has no budget, against the same network in fp32."""
OPTION = "--optimise-for"


def is_asked(name: str, artifacts: tuple[str, ...], target: Target, plan: Optimise | None) -> bool:
    """Say whether a search is asked for: for the recipe's own network, and for variants that name the artifact."""
    return plan is not None and target.device == "cpu" and (not name or OPTIMISED.name in artifacts)


def unmeasurable(target: Target, here: DeviceFacts) -> str:
    """Return why no latency of a target can be measured here; nothing where it can."""
    if target.device != "cpu":
        return "int8 has no fast kernels on CUDA in this format"
    if here.machine != target.machine:
        return f"the latency of {target.machine} cannot be measured on this machine, which is {here.machine}"
    return ""


def impossible(plan: Recipe, targets: tuple[Target, ...], here: DeviceFacts) -> list[str]:
    """Return what no search could do, each as `one thing and another: why not; the way out`."""
    named = any(OPTIMISED in candidates.named(way.artifacts) for way in ways(plan))
    if plan.optimise is None:
        return [f"{OPTIMISED.name} and no time for its search: {OPTION} 120s, or leave it out"] if named else []
    searched = [way for way in ways(plan) if way.quantize and (not way.name or OPTIMISED.name in way.artifacts)]
    if not searched:
        return [f"{OPTION} and no quantization: it is about what of int8 stays in fp32; --quantize static"]
    found = [problem for way in searched if way.quantize for problem in _of_quantization(way.quantize)]
    reasons = {target.name: unmeasurable(target, here) for target in targets}
    if not plan.optimise.found and all(reasons.values()):
        found += [f"{OPTION} and {name}: {reason}; leave it out" for name, reason in reasons.items()]
    return list(dict.fromkeys(found))


def _of_quantization(plan: Quantize) -> Iterator[str]:
    if plan.method == "dynamic":
        yield f"{OPTION} and dynamic quantization: it starts from calibrated ranges; --quantize static"
    if plan.qat is not None:
        yield f"{OPTION} and QAT: it learns with all in int8; --quantize static"
    if plan.onnx == "pt2e":
        yield f'{OPTION} and PT2E: it chooses among ONNX Runtime\'s own operators; onnx = "onnxruntime"'
