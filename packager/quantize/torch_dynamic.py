"""Dynamic int8 by PyTorch: weights of linear layers in int8, activations quantized as they come.

Convolutions stay in fp32: PyTorch has no dynamic kernels for them.
"""

import copy

from torch import nn
from torch.ao.nn.quantized import dynamic
from torch.ao.quantization import default_dynamic_qconfig, per_channel_dynamic_qconfig, quantize_dynamic

from packager.quantize import NO_LINEAR_LAYER, NOT_DYNAMIC
from packager.quantize.engine import use_engine
from packager.quiet import quiet
from runner.errors import StepError
from runner.manifest import Target

BEFORE_REDUCED_RANGE = 3


def quantize(module: nn.Module, target: Target) -> nn.Module:
    """Return a copy of the network with int8 linear layers. Raises StepError where it has none."""
    use_engine(target)
    qconfig = per_channel_dynamic_qconfig if target.per_channel else default_dynamic_qconfig
    with quiet():
        quantized: nn.Module = quantize_dynamic(copy.deepcopy(module), {nn.Linear: qconfig})
    layers = [layer for layer in quantized.modules() if isinstance(layer, dynamic.Linear)]
    if not layers:
        raise StepError(NO_LINEAR_LAYER, advice=NOT_DYNAMIC)
    if target.engine == "qnnpack":
        # A reduced range is what qnnpack has not, and it says so on stderr, on the device too, where one is asked for.
        for layer in layers:
            layer.version = BEFORE_REDUCED_RANGE
    return quantized
