"""Which layers of a network a recipe leaves in fp32."""

from torch import nn

from packager import layers
from packager.quantize import Order
from runner.errors import StepError


def kept(module: nn.Module, order: Order) -> tuple[str, ...]:
    """Return the names of what stays in fp32. Raises StepError for a pattern that names nothing, or where all stays."""
    layers.check(module, order.plan.keep_fp32, "keep_fp32")
    weighted = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    if weighted and all(order.stays_fp32(name) for name in weighted):
        raise StepError("every layer stays in fp32", where="keep_fp32", advice="fewer patterns, or --quantize none")
    return tuple(name for name, _ in module.named_modules() if name and order.stays_fp32(name))
