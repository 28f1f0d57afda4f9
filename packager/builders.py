"""One builder for each precision and format: from a network to the bytes of a file.

The libraries behind a builder load when it is called: each is heavy, and some are deprecated.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import nn

from packager import qat, recipe
from packager.export import Exported, HalfPrecision
from packager.network import Network, Workbench
from packager.onnx_model import OnnxModel
from packager.quantize import Order
from packager.quantize.calibration import Calibration
from runner.manifest import Candidate, Format, Precision, Target

Integers = Literal["torch", "pt2e", "onnxruntime"]
"""Whose rule turns weights into integers: they divide a range by other numbers of steps."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class BuildContext:
    """What artifacts are made from."""

    name: str = ""
    """Of the variant; stands before the names of its artifacts."""
    title: str = ""
    network: Network
    teacher: Network
    """The trained network before anything was taken from it, from which quantization-aware training may learn."""
    quantize: recipe.Quantize | None
    bench: Workbench

    def artifact(self, candidate: Candidate) -> str:
        """Return the name of the artifact that is made of a candidate here."""
        return f"{self.name}-{candidate.name}" if self.name else candidate.name

    def order(self, target: Target) -> Order:
        """Return what a technique of quantization is asked for."""
        splits = self.bench.splits
        calibration = Calibration(
            samples=splits.calibration, preprocess=splits.preprocess, progress=self.bench.progress
        )
        return Order(target=target, plan=self.quantize or recipe.Quantize(), calibration=calibration)

    def adjusted(self, order: Order, integers: Integers | None) -> nn.Module:
        """Return the network in fp32 as quantization with these integers shall find it. Raises StepError.

        Biases are corrected for static int8 only; `integers` is None for all else, in which layers round otherwise
        or not at all.
        """
        module, plan = self.network.module, order.plan
        if plan.equalize:
            from packager.quantize import equalization  # noqa: PLC0415 - torch.fx takes its time

            module = equalization.equalized(module, torch.from_numpy(next(order.calibration.batches("equalize"))))
        # What is trained with the rounding in it learns the shift by itself.
        if plan.correct_bias and plan.qat is None and integers is not None:
            from packager.quantize import bias_correction  # noqa: PLC0415 - as above

            module = bias_correction.corrected(
                module,
                order.calibration.batches("correct biases"),
                per_channel=order.per_channel,
                steps=_steps(integers, reduced=order.target.reduce_range),
                stays_fp32=order.stays_fp32,
            )
        return module


def _steps(integers: Integers, *, reduced: bool) -> float:
    from packager.quantize import bias_correction  # noqa: PLC0415 - torch.fx takes its time

    if integers == "onnxruntime":
        return bias_correction.REDUCED_ONNX_RUNTIME if reduced else bias_correction.ONNX_RUNTIME
    return bias_correction.REDUCED_PT2E if reduced and integers == "pt2e" else bias_correction.TORCH


Builder = Callable[[BuildContext, Target], Exported]


def export(candidate: Candidate, context: BuildContext, target: Target) -> Exported:
    """Make the file of a candidate. Raises StepError."""
    return BUILDERS[candidate.precision, candidate.format](context, target)


def fp32_onnx(context: BuildContext, _: Target) -> Exported:
    """Return the network as an ONNX file; one that came as such is taken as it is."""
    model = context.network.model
    return _as_it_is(model) if isinstance(model, OnnxModel) else onnx_export(model, context.bench)


def _fp16_onnx(context: BuildContext, _: Target) -> Exported:
    model = context.network.model
    if isinstance(model, OnnxModel):
        from packager.export import onnx_half  # noqa: PLC0415 - heavy

        return replace(_as_it_is(model), content=onnx_half.half(model.content))
    return onnx_export(HalfPrecision(model), context.bench)


def _int8_onnx(context: BuildContext, target: Target) -> Exported:
    from packager.export import onnx_compact  # noqa: PLC0415 - heavy

    made = _integer_onnx(context, context.order(target))
    return replace(made, content=onnx_compact.compact(made.content))


def _integer_onnx(context: BuildContext, order: Order) -> Exported:
    if order.plan.qat is not None or order.plan.onnx == "pt2e":
        return _pt2e_onnx(context, order)
    from packager.quantize import onnx_dynamic, onnx_static  # noqa: PLC0415 - heavy

    dynamic = order.plan.method == "dynamic"
    fp32 = float_onnx(context, order, None if dynamic else "onnxruntime")
    if dynamic:
        return replace(fp32, content=onnx_dynamic.quantize(fp32.content, order))
    return replace(fp32, content=onnx_static.quantize(fp32.content, order, dynamic_batch=fp32.dynamic_batch))


def float_onnx(context: BuildContext, order: Order, integers: Integers | None = "onnxruntime") -> Exported:
    """Return the ONNX file that is quantized: in fp32, equalized and corrected where the recipe has it so."""
    if order.plan.equalize or (order.plan.correct_bias and integers is not None):
        return onnx_export(context.adjusted(order, integers), context.bench)
    return fp32_onnx(context, order.target)


def _pt2e_onnx(context: BuildContext, order: Order) -> Exported:
    from packager.quantize import pt2e  # noqa: PLC0415 - heavy

    opset = context.bench.recipe.export.opset
    module = context.adjusted(order, "pt2e")
    if order.plan.qat is None:
        return pt2e.to_onnx(pt2e.quantize(module, order), context.bench.example, opset)
    learned = qat.learned(pt2e, module, order, _qat_context(context, "pt2e"))
    return replace(pt2e.to_onnx(learned.module, context.bench.example, opset), epochs=learned.epochs)


def _weights_onnx(bits: int) -> Builder:
    def builder(context: BuildContext, target: Target) -> Exported:
        from packager.quantize import onnx_weight_only  # noqa: PLC0415 - heavy

        order = context.order(target)
        fp32 = float_onnx(context, order, None)
        return replace(fp32, content=onnx_weight_only.quantize(fp32.content, order, bits))

    return builder


def _fp32_torchscript(context: BuildContext, _: Target) -> Exported:
    return _torchscript(context.network.module, context)


def _half_torchscript(dtype: torch.dtype) -> Builder:
    return lambda context, _: _torchscript(HalfPrecision(context.network.module, dtype), context)


def _int8_torchscript(context: BuildContext, target: Target) -> Exported:
    from packager.quantize import eager, fx, torch_dynamic  # noqa: PLC0415 - deprecated, and loaded by nobody else

    order = context.order(target)
    module = context.adjusted(order, None if order.plan.method == "dynamic" else "torch")
    if order.plan.qat is not None:
        learned = qat.learned(fx, module, order, _qat_context(context, "fx"))
        return replace(_torchscript(learned.module, context), epochs=learned.epochs)
    if order.plan.method == "dynamic":
        return _torchscript(torch_dynamic.quantize(module, order), context)
    return _torchscript((eager if order.plan.torch == "eager" else fx).quantize(module, order), context)


def _qat_context(context: BuildContext, technique: str) -> qat.QatContext:
    return qat.QatContext(
        technique=technique, network=context.network, teacher=context.teacher.module, bench=context.bench
    )


def _as_it_is(model: OnnxModel) -> Exported:
    return Exported(content=model.content, dynamic_batch=model.dynamic_batch)


def onnx_export(module: nn.Module, bench: Workbench) -> Exported:
    """Return a module as an ONNX file. Raises StepError naming the layer that cannot be exported."""
    from packager.export import onnx  # noqa: PLC0415 - heavy

    return onnx.export(module, bench.example, bench.recipe.export.opset)


def _torchscript(module: nn.Module, context: BuildContext) -> Exported:
    from packager.export import torchscript  # noqa: PLC0415 - deprecated, and loaded by nobody else

    return torchscript.export(module, context.bench.example)


BUILDERS: dict[tuple[Precision, Format], Builder] = {
    ("fp32", "onnx"): fp32_onnx,
    ("fp16", "onnx"): _fp16_onnx,
    ("int8", "onnx"): _int8_onnx,
    ("int8-weights", "onnx"): _weights_onnx(8),
    ("int4-weights", "onnx"): _weights_onnx(4),
    ("fp32", "torchscript"): _fp32_torchscript,
    ("fp16", "torchscript"): _half_torchscript(torch.float16),
    ("bf16", "torchscript"): _half_torchscript(torch.bfloat16),
    ("int8", "torchscript"): _int8_torchscript,
}
