"""AOTInductor packages: native code in fp32, bfloat16 and int8 for the CPU that packs."""

import platform

import torch
from torch import nn

from packager.builders.context import BuildContext
from packager.export import Exported, HalfPrecision
from runner import device
from runner.errors import StepError
from runner.manifest import Target

BF16 = ("avx512_bf16", "amx_bf16")


def fp32(context: BuildContext, target: Target) -> Exported:
    """Return the network as native code."""
    return _export(context.network.module, context, target)


def bf16(context: BuildContext, target: Target) -> Exported:
    """Return the network as native code that computes in bfloat16 behind a float32 face."""
    if not any(name in device.facts().features for name in BF16):
        raise StepError("this CPU has no products of bfloat16", advice="fp32.aotinductor, or pack on one that has")
    return _export(HalfPrecision(context.network.module, torch.bfloat16), context, target)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network as native code in static int8."""
    order = context.order(target)
    if order.plan.qat is not None or order.plan.method == "dynamic":
        what = "int8.aotinductor is made by static quantization alone"
        raise StepError(what, advice="--quantize static without [quantize.qat]")
    from packager.quantize import inductor  # noqa: PLC0415 - heavy

    _hold_here(target)
    return _export(inductor.quantize(context.adjusted(order, "pt2e"), order), context, target)


def _export(module: nn.Module, context: BuildContext, target: Target) -> Exported:
    _hold_here(target)
    from packager.export import aotinductor  # noqa: PLC0415 - heavy

    return aotinductor.export(module, context.bench.example)


def _hold_here(target: Target) -> None:
    """Raise StepError where this host is not the kind of machine that the code shall run on."""
    if target.device != "cpu" or target.machine != platform.machine():
        what = f"native code is made on the kind of machine that it is for, and this is {platform.machine()}"
        raise StepError(what, where=target.name, advice="pack there, or leave it out")
