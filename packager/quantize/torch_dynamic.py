"""Dynamic int8 by PyTorch: weights of linear and recurrent layers in int8, activations quantized as they come.

Convolutions stay in fp32: PyTorch has no dynamic kernels for them.
"""

import copy

import torch
from torch import nn
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import QConfig, default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic

from packager.quantize import NOT_DYNAMIC, Order
from packager.quantize.engine import use_engine
from packager.quantize.keep_fp32 import kept
from packager.quiet import quiet
from runner.errors import StepError

LAYERS: tuple[type[nn.Module], ...] = (nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell)
NO_LAYER = "PyTorch's dynamic quantization takes linear and recurrent layers, and the network has none"
INT8 = (dynamic.Linear, dynamic.LSTM, dynamic.GRU, dynamic.LSTMCell, dynamic.GRUCell, dynamic.RNNCell)
BEFORE_REDUCED_RANGE = 3


def quantize(module: nn.Module, order: Order) -> nn.Module:
    """Return a copy of the network with int8 linear and recurrent layers. Raises StepError where it has none."""
    use_engine(order.target)
    qconfig = per_channel_dynamic_qconfig if order.per_channel else default_dynamic_qconfig
    spec: dict[type[nn.Module] | str, QConfig | None] = dict.fromkeys(LAYERS, qconfig)
    spec |= dict.fromkeys(kept(module, order))
    with quiet():
        try:
            quantized: nn.Module = quantize_dynamic(copy.deepcopy(module), spec)
        except (AssertionError, RuntimeError, NotImplementedError) as error:
            what = f"PyTorch's dynamic quantization does not take a layer: {error}"
            raise StepError(what, advice=f"{NOT_DYNAMIC}, or its name in `keep_fp32`") from error
    if not any(isinstance(layer, INT8) for layer in quantized.modules()):
        raise StepError(NO_LAYER, advice=NOT_DYNAMIC)
    if order.target.engine == "qnnpack":
        _in_full_range(quantized)
    return quantized


def _in_full_range(quantized: nn.Module) -> None:
    """Ask for no reduced range: qnnpack has none, and says so on stderr, on the device too, where one is asked for."""
    for layer in quantized.modules():
        if isinstance(layer, dynamic.Linear):
            layer.version = BEFORE_REDUCED_RANGE
        elif isinstance(layer, dynamic.LSTM | dynamic.GRU):
            for weights in layer._all_weight_values:  # noqa: SLF001 - there is no other way to them
                _, biases, _, _, packed = weights.param.__getstate__()[0]
                weights.param = torch.ops.quantized.make_quantized_cell_params_dynamic(*packed, *biases, False)
