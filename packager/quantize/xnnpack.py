"""Static int8 and QAT for XNNPACK's kernels: PT2E with ExecuTorch's quantizer, the same network on every machine."""

from dataclasses import replace

from torch import nn

from packager.quantize import Order, pt2e


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return an int8 copy of the network. Raises StepError naming the layer that cannot be exported."""
    return pt2e.quantize(module, for_xnnpack(order))


def prepare(module: nn.Module, order: Order) -> nn.Module:
    """Return a copy that rounds as int8 will, and can be trained. Raises StepError naming the failing layer."""
    return pt2e.prepare(module, for_xnnpack(order))


def convert(prepared: nn.Module, order: Order) -> nn.Module:
    """Return the int8 network that a trained copy has become."""
    return pt2e.convert(prepared, for_xnnpack(order))


def for_xnnpack(order: Order) -> Order:
    """Return the order for what XNNPACK computes with: signed activations and all eight bits, whatever the machine.

    On x86 without VNNI too, for its kernels add up in 32 bits there. What else a target says is of other runtimes.
    """
    target = replace(
        order.target,
        machine="aarch64",
        engine=None,
        activation_type="int8",
        weight_type="int8",
        reduce_range=False,
    )
    return replace(order, target=target, kernels="xnnpack")
