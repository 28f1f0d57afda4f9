"""Static int8 and QAT by PT2E: torch.export's graph, torchao's quantizer for the target's machine, an ONNX file.

It is what PyTorch has in the place of FX graph mode, and how quantization-aware training reaches ONNX.
"""

import copy
from dataclasses import replace

import torch
from torch import Tensor, nn

from packager.export import Exported, onnx
from packager.quantize import Order, pt2e_norms, pt2e_observer
from packager.quantize.integer_kernels import for_integer_kernels
from packager.quantize.keep_fp32 import kept
from packager.quantize.pt2e_graph import ExportedNetwork, exported, without_dropout
from packager.quantize.pt2e_quantizer import quantizer
from packager.quantize.refused import refused
from packager.quantize.torchao_pt2e import convert_pt2e, prepare_pt2e, prepare_qat_pt2e
from packager.quiet import quiet

CANNOT = "torchao cannot quantize the network"
WAY_OUT = 'leave the layer in fp32, with --keep-fp32, or onnx = "onnxruntime" without QAT'


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return an int8 copy of the network. Raises StepError naming the layer that cannot be exported."""
    chosen = quantizer(order, frozenset(kept(module, order)), qat=False)
    with quiet(), torch.no_grad():
        graph = exported(copy.deepcopy(module).eval(), _example(order))
        without_dropout(graph)
        with refused(CANNOT, WAY_OUT):
            observed = prepare_pt2e(graph, chosen)
    with torch.no_grad():
        pt2e_observer.calibrate(observed, order)
    with quiet(), torch.no_grad(), refused(CANNOT, WAY_OUT):
        pt2e_norms.hide(observed)
        return ExportedNetwork(convert_pt2e(observed))


def prepare(module: nn.Module, order: Order) -> nn.Module:
    """Return a copy that rounds as int8 will, and can be trained. Raises StepError naming the failing layer."""
    chosen = quantizer(order, frozenset(kept(module, order)), qat=True)
    with quiet(), torch.no_grad():
        graph = exported(copy.deepcopy(module).eval(), _example(order))
        with refused(CANNOT, WAY_OUT):
            graph = prepare_qat_pt2e(graph, pt2e_norms.WithNorms(chosen))
        prepared = ExportedNetwork(graph)
        pt2e_observer.start(prepared, torch.from_numpy(next(order.calibration.batches("observe"))))
    return prepared


def convert(prepared: nn.Module, order: Order) -> nn.Module:
    """Return the int8 network that a trained copy has become."""
    trained = copy.deepcopy(prepared).eval()
    assert isinstance(trained, ExportedNetwork)
    with quiet(), torch.no_grad(), refused(CANNOT, WAY_OUT):
        trained(_example(order))  # weights may have been loaded since their ranges were seen
        pt2e_norms.fold(trained.network)
        converted = convert_pt2e(trained.network)
        without_dropout(converted)
        return ExportedNetwork(converted)


def to_onnx(converted: nn.Module, example: Tensor, opset: int) -> Exported:
    """Return an int8 network as an ONNX file for integer kernels. Raises StepError where it cannot be exported."""
    # The graph itself: within anything else, its layers would have longer names than the network gives them.
    made = onnx.export(converted.network if isinstance(converted, ExportedNetwork) else converted, example, opset)
    return replace(made, content=for_integer_kernels(made.content))


def _example(order: Order) -> Tensor:
    return torch.from_numpy(order.calibration.example())
