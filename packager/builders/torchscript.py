"""TorchScript files: in fp32, in half precision, and with the integers of one quantization engine."""

from dataclasses import replace

import torch
from torch import nn

from packager import qat
from packager.builders.context import BuildContext, Builder
from packager.export import Exported, HalfPrecision
from runner.manifest import Target


def fp32(context: BuildContext, _: Target) -> Exported:
    """Return the network as a TorchScript file."""
    return _export(context.network.module, context)


def half(dtype: torch.dtype) -> Builder:
    """Return the builder of files that compute in 16 bits behind a float32 face."""
    return lambda context, _: _export(HalfPrecision(context.network.module, dtype), context)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8 for the quantization engine of the target, by the technique of the recipe."""
    from packager.quantize import eager, fx, torch_dynamic  # noqa: PLC0415 - deprecated, and loaded by nobody else

    order = context.order(target)
    module = context.adjusted(order, None if order.plan.method == "dynamic" else "torch")
    if order.plan.qat is not None:
        learned = qat.learned(fx, module, order, context.qat("fx"))
        return replace(_export(learned.module, context), epochs=learned.epochs)
    if order.plan.method == "dynamic":
        return _export(torch_dynamic.quantize(module, order), context)
    return _export((eager if order.plan.torch == "eager" else fx).quantize(module, order), context)


def onednn(context: BuildContext, target: Target) -> Exported:
    """Return the same for the engine onednn, whatever the target's own is."""
    return int8(context, replace(target, engine="onednn"))


def _export(module: nn.Module, context: BuildContext) -> Exported:
    from packager.export import torchscript  # noqa: PLC0415 - deprecated, and loaded by nobody else

    return torchscript.export(module, context.bench.example)
