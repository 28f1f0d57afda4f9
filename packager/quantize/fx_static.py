"""Static int8 by FX graph mode: the network is traced, observed on calibration samples, and converted.

PyTorch has deprecated this road for torchao's PT2E. It is kept because only its networks become TorchScript files,
which run bit for bit alike on x86 and ARM with the engine qnnpack.
"""

import copy

import torch
from torch import nn
from torch.ao.quantization import QConfig, QConfigMapping, default_weight_observer, get_default_qconfig_mapping
from torch.ao.quantization.observer import default_per_channel_weight_observer
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx
from torch.fx import GraphModule

from packager.failing_layer import ADVICE, failing_layer
from packager.quantize.calibration import Calibration
from packager.quantize.engine import use_engine
from packager.quiet import quiet
from runner.errors import StepError
from runner.manifest import Target


def quantize(module: nn.Module, target: Target, calibration: Calibration) -> nn.Module:
    """Return an int8 copy of the network for the target's engine. Raises StepError naming the failing layer."""
    use_engine(target)
    batches = calibration.batches(f"calibrate {target.engine}")
    example = torch.from_numpy(next(batches))
    with quiet(), torch.no_grad():
        observed = _observed(module, _mapping(target), example)
        observed(example)
        for batch in batches:
            observed(torch.from_numpy(batch))
        converted: GraphModule = convert_fx(observed)
    _mean_keeps_rank(converted)
    return converted


def _observed(module: nn.Module, mapping: QConfigMapping, example: torch.Tensor) -> nn.Module:
    def prepare(network: nn.Module) -> nn.Module:
        return prepare_fx(copy.deepcopy(network), mapping, example)  # type: ignore[no-any-return]  # untyped upstream

    try:
        return prepare(module)
    except Exception as error:
        layer = failing_layer(module, prepare)
        message = str(error).strip().splitlines()
        what = f"the network cannot be quantized, in {layer}: {type(error).__name__}: {message[0] if message else ''}"
        raise StepError(what, advice=f"{ADVICE}, or pack with --quantize none") from error


def _mapping(target: Target) -> QConfigMapping:
    """Return the engine's own settings, with the granularity of weights that the target asks for."""
    mapping = get_default_qconfig_mapping(str(target.engine))
    default = mapping.global_qconfig
    weight = default_per_channel_weight_observer if target.per_channel else default_weight_observer
    return mapping.set_global(QConfig(activation=default.activation, weight=weight))


def _mean_keeps_rank(network: GraphModule) -> None:
    """Let every mean keep its dimensions, and drop them after it.

    Without, torch's int8 mean fails on 1 x 1 pixels (2.14), which is what ShuffleNet makes of small images.
    """
    for node in network.graph.nodes:
        if node.target in ("mean", torch.mean) and len(node.args) == 2 and not node.kwargs:
            tensor, dimensions = node.args
            with network.graph.inserting_after(node):
                dropped = network.graph.call_method("squeeze", (node, dimensions))
            node.replace_all_uses_with(dropped)
            dropped.args = (node, dimensions)
            node.args = (tensor, dimensions, True)
    network.recompile()
