"""How large a network is: what pruning brings, before anything is measured."""

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The size of a network."""

    parameters: int
    nonzero: int
    """Of the parameters, those that are not zero."""
    macs: int
    """Multiply-accumulates for one sample: of convolutions, linear layers and attention."""


def count(module: nn.Module, example: Tensor) -> Counts:
    """Count parameters, and multiply-accumulates for one of the samples in `example`, N x C x H x W."""
    parameters = list(module.parameters())
    return Counts(
        parameters=sum(parameter.numel() for parameter in parameters),
        nonzero=sum(int(torch.count_nonzero(parameter)) for parameter in parameters),
        macs=_macs(module, example),
    )


def _macs(module: nn.Module, example: Tensor) -> int:
    # A copy: in training mode the samples would go into the statistics of batch norm.
    module = copy.deepcopy(module).eval()
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        # Fused attention is one operator that the counter does not know.
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            module(example)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)
    operations: int = counter.get_total_flops()  # a multiplication and an addition are two
    return operations // 2 // len(example)
