"""Quantization-aware training: the network meets the rounding of int8 while it is trained on."""

from dataclasses import dataclass

from torch import nn

from packager.distillation import Teacher
from packager.network import Network, Workbench, run
from packager.quantize import Order, Trainable
from packager.train import Job
from runner import codec
from runner.errors import StepError
from runner.packing import Epoch


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class School:
    """What a network learns with."""

    technique: str
    """The name of what puts the rounding in, for the cache."""
    key: str
    """What stands for the network in the cache."""
    teacher: nn.Module
    """In fp32."""
    bench: Workbench


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Learned:
    """An int8 network, and the epochs that it took."""

    module: nn.Module
    epochs: tuple[Epoch, ...]


def learned(technique: Trainable, module: nn.Module, order: Order, school: School) -> Learned:
    """Train a copy of the network with the rounding in it, and make integers of it. Raises StepError."""
    plan, bench = order.plan.qat, school.bench
    if plan is None:
        raise StepError("the recipe has no [quantize.qat]")
    target = order.target
    prepared = technique.prepare(module, order)
    key = codec.digest(
        [school.key, school.technique, codec.unstructure(order.plan), target.machine, target.engine, target.per_channel]
    )
    job = Job(
        plan=bench.tuning(epochs=plan.epochs, learning_rate=plan.learning_rate, share=plan.share),
        splits=bench.splits,
        seed=bench.recipe.seed,
        stage="qat",
        teacher=Teacher(module=school.teacher, weight=plan.distil) if plan.distil else None,
    )
    network, _ = run(Network(model=prepared, key=key), job, bench)
    return Learned(module=technique.convert(network.module, order), epochs=network.epochs)
