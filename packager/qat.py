"""Quantization-aware training: the network meets the rounding of int8 while it is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

from packager.distillation import Teacher
from packager.network import Network, Workbench, run
from packager.quantize import Order, Trainable
from packager.train import Job
from runner import codec
from runner.errors import StepError
from runner.packing import Epoch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class QatContext:
    """What a network learns with."""

    technique: str
    """The name of what puts the rounding in, for the cache."""
    network: Network
    """As it was before."""
    teacher: nn.Module
    """In fp32."""
    bench: Workbench


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learned:
    """An int8 network, and the epochs that it took."""

    module: nn.Module
    epochs: tuple[Epoch, ...]


def learned(technique: Trainable, module: nn.Module, order: Order, context: QatContext) -> Learned:
    """Train a copy of the network with the rounding in it, and make integers of it. Raises StepError."""
    plan, bench = order.plan.qat, context.bench
    if plan is None:
        raise StepError("the recipe has no [quantize.qat]")
    prepared = technique.prepare(module, order)
    job = Job(
        plan=bench.tuning(epochs=plan.epochs, learning_rate=plan.learning_rate, share=plan.share),
        splits=bench.splits,
        seed=bench.recipe.seed,
        stage="qat",
        masks=_masks(prepared, context.network.masks),
        teacher=Teacher(module=context.teacher, weight=plan.distil) if plan.distil else None,
    )
    network, _ = run(Network(model=prepared, key=_key(order, context)), job, bench)
    return Learned(module=technique.convert(network.module, order), epochs=network.epochs)


def _key(order: Order, context: QatContext) -> str:
    # Neither which other techniques the recipe names, nor what else is told of the network, changes the training.
    plan = replace(order.plan, sensitivity=False, operators="qdq", torch="fx", onnx="onnxruntime")
    target = replace(order.target, name="", description="", artifacts=(), more=())
    return codec.digest([context.network.key, context.technique, codec.unstructure(plan), codec.unstructure(target)])


def _masks(prepared: nn.Module, masks: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the masks under the names that the parameters have with the rounding in. Raises StepError."""
    found = {}
    for name, parameter in prepared.named_parameters():
        for own, mask in masks.items():
            if (name == own or name.endswith(f".{own}")) and parameter.shape == mask.shape:
                found[name] = mask
    if len(found) < len(masks):
        what = f"{len(masks) - len(found)} of {len(masks)} pruned weights would not stay zero in the training"
        raise StepError(what, advice="--prune-method channels, or static quantization without [quantize.qat]")
    return found
