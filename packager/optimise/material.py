"""What every division of one network is made from: the file in fp32, prepared, with its ranges; calibrated once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from packager.cache import Cache
from packager.export import Exported, onnx_compact
from packager.optimise.units import Division, Unit, divided, units
from packager.quantize import Order
from packager.quantize.onnx_graph import kept, layers, prepared
from packager.quantize.onnx_ranges import Ranges, ranges
from packager.quantize.onnx_static import integers
from packager.recipe import Assignment, OnnxOperators
from runner import codec
from runner.errors import StepError
from runner.manifest import Json

WHOLE, PREPARED, FACTS = "fp32.onnx", "prepared.onnx", "facts.json"
NOTHING_GAINED = "int8 brings nothing here: fp32 is faster"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Facts:
    """What is kept in the cache beside the files."""

    dynamic_batch: bool
    ranges: dict[str, tuple[float, float]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Source:
    """Where a network in fp32 comes from, and how it is to be quantized."""

    order: Order
    whole: Callable[[], Exported]
    """Exports it. Raises StepError."""
    key: dict[str, Json]
    """What stands for the exported file and for the calibration samples."""
    cache: Cache


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Material:
    """A network in fp32, and what it takes to make any part of it integers."""

    whole: Exported
    model: onnx.ModelProto
    ranges: Ranges
    order: Order
    units: tuple[Unit, ...]

    @property
    def forms(self) -> tuple[OnnxOperators, ...]:
        """In which forms integers can be checked on this host, that of the recipe first."""
        own = self.order.plan.operators
        # Signed activations in integer operators can be checked on no x86 machine.
        others: tuple[OnnxOperators, ...] = () if self.order.target.activation_type == "int8" else ("qdq", "qoperator")
        return (own, *(each for each in others if each != own))

    def content(self, division: Division) -> bytes:
        """Return the file of a division: that in fp32 where nothing of it becomes integers. Raises StepError."""
        nodes = [node for unit in self.units if unit.name not in division.fp32 for node in unit.nodes]
        return onnx_compact.compact(self.integers(division.operators, nodes)) if nodes else self.whole.content

    def integers(self, operators: OnnxOperators, nodes: list[str]) -> bytes:
        """Return the file with these nodes in int8, with the names that quantizers give. Raises StepError."""
        order = replace(self.order, plan=replace(self.order.plan, operators=operators))
        return integers(self.model, self.ranges, order, nodes)


def material(source: Source) -> Material:
    """Return what divisions of a network are made from, found again where it was made before. Raises StepError."""
    order = source.order

    def make(folder: Path) -> None:
        whole = source.whole()
        model = prepared(whole.content)
        found = ranges(model, order, dynamic_batch=whole.dynamic_batch)
        (folder / WHOLE).write_bytes(whole.content)
        onnx.save(model, folder / PREPARED)
        facts = _Facts(dynamic_batch=whole.dynamic_batch, ranges=dict(found))
        (folder / FACTS).write_text(codec.write_json(facts), encoding="utf-8")

    folder = source.cache.made("calibrated", _inputs(source), make).folder
    facts = codec.read_json(_Facts, (folder / FACTS).read_bytes())
    model = onnx.load(folder / PREPARED)
    stay = {layer.node for layer in kept(layers(model), order.plan.keep_fp32)}
    return Material(
        whole=Exported(content=(folder / WHOLE).read_bytes(), dynamic_batch=facts.dynamic_batch),
        model=model,
        ranges=facts.ranges,
        order=order,
        units=units(model, stay),
    )


def optimised(source: Source, assignment: Assignment) -> Exported:
    """Return the network in int8 but for what an assignment leaves in fp32. Raises StepError where that is all."""
    found = material(source)
    division = divided(found.units, assignment)
    if division.fp32.issuperset(unit.name for unit in found.units):
        raise StepError(NOTHING_GAINED, advice="fp32.onnx, or the int8 of another runtime")
    return replace(found.whole, content=found.content(division))


def _inputs(source: Source) -> dict[str, object]:
    # Which layers stay and how integers are written is decided later, unless biases are corrected by it.
    plan, target = source.order.plan, source.order.target
    bare = plan if plan.correct_bias else replace(plan, operators="qdq", keep_fp32=())
    like = replace(target, name="", description="", artifacts=(), more=())
    return {**source.key, "quantize": codec.unstructure(bare), "target": codec.unstructure(like)}
