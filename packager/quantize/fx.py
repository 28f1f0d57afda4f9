"""Static int8 by FX graph mode: the network is traced, observed on calibration samples, and converted.

PyTorch has deprecated it for torchao's PT2E. It is kept because only its networks become TorchScript files,
which run bit for bit alike on x86 and ARM with the engine qnnpack.
"""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.ao.quantization import QConfig, QConfigMapping, default_weight_observer
from torch.ao.quantization.fake_quantize import FixedQParamsFakeQuantize
from torch.ao.quantization.observer import default_per_channel_weight_observer
from torch.ao.quantization.qconfig_mapping import get_default_qat_qconfig_mapping, get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx
from torch.fx import GraphModule

from packager.failing_layer import ADVICE, failing_layer
from packager.quantize import Order, fake_quantize, observer
from packager.quantize.engine import use_engine
from packager.quantize.keep_fp32 import kept
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError, first_line

CANNOT = "the network cannot be quantized"
WAY_OUT = "leave the layer in fp32, with --keep-fp32, or pack with --quantize none"


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return an int8 copy of the network for the target's engine. Raises StepError naming the failing layer."""
    use_engine(order.target)
    with quiet(), torch.no_grad():
        default = get_default_qconfig_mapping(str(order.target.engine))
        weight = default_per_channel_weight_observer if order.per_channel else default_weight_observer
        mapping = _mapping(
            default, QConfig(activation=observer.activations(order, observer.largest(order, module)), weight=weight)
        )
        _keep_fp32(mapping, module, order)
        example = observer.sample(order)
        observed = attempt(module, lambda network: prepare_fx(copy.deepcopy(network), mapping, example))
        with refused(CANNOT, WAY_OUT):
            observer.calibrate(observed, order)
        return _converted(observed)


def prepare(module: nn.Module, order: Order) -> nn.Module:
    """Return a copy that rounds as int8 will, and can be trained. Raises StepError naming the failing layer."""
    use_engine(order.target)
    with quiet(), torch.no_grad():
        default = get_default_qat_qconfig_mapping(str(order.target.engine))
        activation = fake_quantize.activations(order, observer.largest(order, module))
        ours = QConfig(activation=activation, weight=fake_quantize.weights(order))
        mapping = _in_float32(_mapping(default, ours))
        _keep_fp32(mapping, module, order)
        example = observer.sample(order)
        prepared = attempt(module, lambda network: prepare_qat_fx(_leaves_train(network), mapping, example))
        fake_quantize.start(prepared, torch.from_numpy(next(order.calibration.batches("observe"))))
    return prepared


def convert(prepared: nn.Module, order: Order) -> nn.Module:
    """Return the int8 network that a trained copy has become."""
    use_engine(order.target)
    with quiet(), torch.no_grad():
        return _converted(copy.deepcopy(prepared).eval())


def attempt(module: nn.Module, prepare: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """Return what `prepare` makes of the network. Raises StepError naming the layer in which it fails."""
    try:
        return prepare(module)
    except Exception as error:
        layer = failing_layer(module, prepare)
        what = f"the network cannot be quantized, in {layer}: {first_line(error)}"
        raise StepError(what, advice=f"{ADVICE}, or pack with --quantize none") from error


def _mapping(default: QConfigMapping, ours: QConfig) -> QConfigMapping:
    """Return the engine's own settings, with our observers in the place of the default ones."""
    before = default.global_qconfig
    default.set_global(ours)
    for kind, own in default.object_type_qconfigs.items():
        if own.activation == before.activation:
            default.set_object_type(kind, QConfig(activation=ours.activation, weight=own.weight))
    return default


def _in_float32(mapping: QConfigMapping) -> QConfigMapping:
    """Let sigmoids and their like round in float32 too."""
    for kind, own in mapping.object_type_qconfigs.items():
        made = own.activation()
        if isinstance(made, FixedQParamsFakeQuantize):
            activation = fake_quantize.fixed(own.activation.p.keywords["observer"])
            mapping.set_object_type(kind, QConfig(activation=activation, weight=own.weight))
    return mapping


def _keep_fp32(mapping: QConfigMapping, module: nn.Module, order: Order) -> None:
    for name in kept(module, order):
        mapping.set_module_name(name, None)


def _leaves_train(module: nn.Module) -> nn.Module:
    """Return a copy whose layers are in train mode, as QAT wants them, and whose forward() goes the way of eval mode.

    A trace holds one way only: that of train mode would drop out at random for ever.
    """
    module = copy.deepcopy(module).eval()
    for layer in module.modules():
        layer.training = type(layer).__module__.startswith("torch.nn")  # what FX takes for a layer
    return module


def _converted(observed: nn.Module) -> nn.Module:
    with refused(CANNOT, WAY_OUT):
        converted: GraphModule = convert_fx(observed)
    mean_keeps_rank(converted)
    return converted


def mean_keeps_rank(network: GraphModule) -> None:
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
