"""What one trial does to the trained network."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from packager import heard
from packager.candidates import REFERENCE
from packager.recipe import Prune, Quantize, Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A way to compress, and the artifact that it is judged by."""

    prune: Prune | None
    quantize: Quantize | None
    artifact: str
    """Such as `int8.onnx`."""


def as_recipe(plan: Plan, base: Recipe) -> Recipe:
    """Return the whole recipe that makes exactly this artifact, with the reference that it is held against."""
    return replace(
        base,
        title="",
        models=(),
        prune=plan.prune,
        quantize=plan.quantize and heard.of_use_to(plan.artifact, plan.quantize),
        candidates=tuple(dict.fromkeys((REFERENCE.name, plan.artifact))),
        variants=(),
        budget=None,
        optimise=None,
    )


def described(plan: Plan) -> str:
    """Return a plan in one line."""
    quantization = _quantization(plan.quantize, plan.artifact) if plan.quantize else ()
    return f"{_pruning(plan.prune)}; {', '.join((plan.artifact, *quantization))}"


def _pruning(prune: Prune | None) -> str:
    if prune is None:
        return "unpruned"
    shares = (f"{100 * amount:g} % of {pattern}" for pattern, amount in prune.amounts.items() if amount)
    return f"channels by {prune.importance}: {', '.join(shares)}"


def _quantization(quantize: Quantize, artifact: str) -> Iterator[str]:
    if artifact.endswith(".onnx"):
        yield quantize.operators if quantize.onnx == "onnxruntime" else quantize.onnx
    else:
        yield quantize.torch
    if quantize.qat is not None:
        yield "QAT"
    yield f"ranges by {quantize.ranges}"
    if quantize.per_channel is not None:
        yield "per channel" if quantize.per_channel else "per tensor"
    if quantize.equalize:
        yield "equalized"
