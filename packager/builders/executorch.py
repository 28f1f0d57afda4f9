"""ExecuTorch files: in fp32, and in int8 for XNNPACK's kernels."""

from dataclasses import replace

from torch import nn

from packager import installed, qat
from packager.builders.context import BuildContext
from packager.export import Exported
from runner.manifest import Target


def fp32(context: BuildContext, _: Target) -> Exported:
    """Return the network as an ExecuTorch file."""
    installed.hold("executorch", "executorch")
    return _export(context.network.module, context)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8, by PT2E with XNNPACK's quantizer: the same for every machine."""
    installed.hold("executorch", "executorch")
    from packager.quantize import xnnpack  # noqa: PLC0415 - heavy

    order = xnnpack.for_xnnpack(context.order(target))
    module = context.adjusted(order, "xnnpack")
    if order.plan.qat is None:
        return _export(xnnpack.quantize(module, order), context)
    learned = qat.learned(xnnpack, module, order, context.qat("xnnpack"))
    return replace(_export(learned.module, context), epochs=learned.epochs)


def _export(module: nn.Module, context: BuildContext) -> Exported:
    from packager.export import executorch  # noqa: PLC0415 - heavy

    program = executorch.lowered(module, context.bench.example)
    if others := executorch.left_over(program):
        context.bench.journal.say("by ExecuTorch's own kernels", "", f"{', '.join(others)}: XNNPACK has none for it")
    return executorch.written(program)
