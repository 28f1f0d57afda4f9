"""Static int8 for PyTorch's compiler: PT2E with torchao's quantizer for x86 as it comes, which knows its fusions."""

import copy

import torch
from torch import nn
from torch.fx import GraphModule

from packager.quantize import Order, pt2e_norms, pt2e_observer
from packager.quantize.keep_fp32 import kept
from packager.quantize.pt2e_graph import exported, layers, without_dropout
from packager.quantize.refused import refused
from packager.quantize.torchao_pt2e import (
    QUANT_ANNOTATION_KEY,
    X86Annotation,
    X86InductorQuantizer,
    convert_pt2e,
    prepare_pt2e,
)
from packager.quiet import quiet

CANNOT = "torchao cannot quantize the network"
WAY_OUT = "leave the layer in fp32, with --keep-fp32, or another artifact"


class _Keeping(X86InductorQuantizer):  # type: ignore[misc]  # torchao ships no types
    """torchao's, which leaves some layers alone."""

    def __init__(self, stays: frozenset[str]) -> None:
        super().__init__()
        self.stays = stays

    def annotate(self, model: GraphModule) -> GraphModule:
        """Note at each node what of it is rounded."""
        for node in model.graph.nodes:
            if not self.stays.isdisjoint(layers(node)):
                node.meta[QUANT_ANNOTATION_KEY] = X86Annotation(_annotated=True)
        annotated: GraphModule = super().annotate(model)
        return annotated


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return an int8 copy of the network. Raises StepError naming the layer that cannot be exported."""
    quantizer = _Keeping(frozenset(kept(module, order)))
    quantizer.set_global(pt2e_observer.config(order, qat=False))
    example = torch.from_numpy(order.calibration.example())
    with quiet(), torch.no_grad():
        graph = exported(copy.deepcopy(module).eval(), example)
        without_dropout(graph)
        with refused(CANNOT, WAY_OUT):
            observed = prepare_pt2e(graph, quantizer)
    with torch.no_grad():
        pt2e_observer.calibrate(observed, order)
    with quiet(), torch.no_grad(), refused(CANNOT, WAY_OUT):
        pt2e_norms.hide(observed)
        converted: nn.Module = convert_pt2e(observed)
    return converted
