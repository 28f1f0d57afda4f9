"""ONNX files: in fp32, in half precision, and with integers by ONNX Runtime or PT2E."""

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from packager import qat
from packager.builders.context import BuildContext, Builder, Integers
from packager.candidates import OPTIMISED
from packager.export import Exported, HalfPrecision
from packager.network import Workbench
from packager.onnx_model import OnnxModel
from packager.quantize import Order
from runner import codec
from runner.errors import StepError
from runner.manifest import Target

if TYPE_CHECKING:
    from packager.optimise.material import Source


def fp32(context: BuildContext, _: Target) -> Exported:
    """Return the network as an ONNX file; one that came as such is taken as it is."""
    model = context.network.model
    return _as_it_is(model) if isinstance(model, OnnxModel) else export(model, context.bench)


def fp16(context: BuildContext, _: Target) -> Exported:
    """Return the network in half precision behind a float32 face."""
    model = context.network.model
    if isinstance(model, OnnxModel):
        from packager.export import onnx_half  # noqa: PLC0415 - heavy

        return replace(_as_it_is(model), content=onnx_half.half(model.content))
    return export(HalfPrecision(model), context.bench)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8, by the technique of the recipe."""
    return _compact(_integer_onnx(context, context.order(target)))


def qoperator(context: BuildContext, target: Target) -> Exported:
    """Return the network in static int8, each integer layer as one operator."""
    order = context.order(target)
    _hold_static(order, "int8-qoperator.onnx")
    return _compact(_integer_onnx(context, replace(order, plan=replace(order.plan, operators="qoperator"))))


def mixed(context: BuildContext, target: Target) -> Exported:
    """Return the network in static int8 where that is faster, and the rest in fp32."""
    order = context.order(target)
    _hold_static(order, "int8-mixed.onnx")
    return _compact(_integer_onnx(context, order, mixed=True))


def _compact(made: Exported) -> Exported:
    from packager.export import onnx_compact  # noqa: PLC0415 - heavy

    return replace(made, content=onnx_compact.compact(made.content))


def _hold_static(order: Order, name: str) -> None:
    """Raise StepError where another technique was asked for than ONNX Runtime's own static one."""
    if order.plan.qat is not None or order.plan.onnx == "pt2e" or order.plan.method == "dynamic":
        what = f"{name} is made by ONNX Runtime's static quantization alone"
        raise StepError(what, advice='--quantize static with onnx = "onnxruntime" and without [quantize.qat]')


def optimised(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8, but for what a search by measured latency has left in fp32."""
    from packager.optimise import material  # noqa: PLC0415 - heavy

    if (assignment := context.assignment(OPTIMISED)) is None:
        raise StepError("nothing has been found to leave in fp32", advice="--optimise-for 120s")
    return material.optimised(divisible(context, target), assignment)


def divisible(context: BuildContext, target: Target) -> "Source":
    """Return the network as what divides it between int8 and fp32 takes it."""
    from packager.optimise.material import Source  # noqa: PLC0415 - heavy

    order, bench = context.order(target), context.bench
    key = {
        "network": context.network.key,
        "export": codec.unstructure(bench.recipe.export),
        "preprocess": codec.unstructure(bench.splits.preprocess),
        "data": bench.splits.sha256,
    }
    return Source(order=order, whole=lambda: to_quantize(context, order), key=key, cache=bench.cache)


def _integer_onnx(context: BuildContext, order: Order, *, mixed: bool = False) -> Exported:
    if order.plan.qat is not None:
        return learned(context, order)
    if order.plan.onnx == "pt2e":
        from packager.quantize import pt2e  # noqa: PLC0415 - heavy

        found = pt2e.quantize(context.adjusted(order, "pt2e"), order)
        return pt2e.to_onnx(found, context.bench.example, context.bench.recipe.export.opset)
    from packager.quantize import onnx_dynamic, onnx_static  # noqa: PLC0415 - heavy

    dynamic = order.plan.method == "dynamic"
    whole = to_quantize(context, order, None if dynamic else "onnxruntime")
    if dynamic:
        return replace(whole, content=onnx_dynamic.quantize(whole.content, order))
    content = onnx_static.quantize(whole.content, order, dynamic_batch=whole.dynamic_batch, mixed=mixed)
    return replace(whole, content=content)


def to_quantize(context: BuildContext, order: Order, integers: Integers | None = "onnxruntime") -> Exported:
    """Return the ONNX file that is quantized: in fp32, equalized and corrected where the recipe has it so."""
    if order.plan.equalize or (order.plan.correct_bias and integers is not None):
        return export(context.adjusted(order, integers), context.bench)
    return fp32(context, order.target)


def learned(context: BuildContext, order: Order) -> Exported:
    """Return the network in int8, after training with its rounding: PT2E writes it between conversions (QDQ)."""
    from packager.quantize import pt2e  # noqa: PLC0415 - heavy

    trained = qat.learned(pt2e, context.adjusted(order, "pt2e"), order, context.qat("pt2e"))
    exported = pt2e.to_onnx(trained.module, context.bench.example, context.bench.recipe.export.opset)
    return replace(exported, epochs=trained.epochs)


def weights(bits: int) -> Builder:
    """Return the builder of files whose weights alone are integers, of 8 bits or of 4."""

    def builder(context: BuildContext, target: Target) -> Exported:
        from packager.quantize import onnx_weight_only  # noqa: PLC0415 - heavy

        order = context.order(target)
        whole = to_quantize(context, order, None)
        return replace(whole, content=onnx_weight_only.quantize(whole.content, order, bits))

    return builder


def _as_it_is(model: OnnxModel) -> Exported:
    return Exported(content=model.content, dynamic_batch=model.dynamic_batch)


def export(module: nn.Module, bench: Workbench) -> Exported:
    """Return a module as an ONNX file. Raises StepError naming the layer that cannot be exported."""
    from packager.export import onnx  # noqa: PLC0415 - heavy

    return onnx.export(module, bench.example, bench.recipe.export.opset)
