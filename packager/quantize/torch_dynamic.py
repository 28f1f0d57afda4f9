"""Dynamic int8 by PyTorch: weights of linear layers in int8, activations quantized as they come.

Convolutions stay in fp32: PyTorch has no dynamic kernels for them.
"""

import copy
import warnings

import torch
from torch import nn
from torch.ao.quantization import quantize_dynamic

from runner.errors import StepError
from runner.manifest import Target


def quantize(module: nn.Module, target: Target) -> nn.Module:
    """Return a copy of the network with int8 linear layers. Raises StepError where it has none."""
    if not any(isinstance(layer, nn.Linear) for layer in module.modules()):
        raise StepError(
            "the network has no linear layer, and dynamic quantization takes no other", advice="--quantize static"
        )
    torch.backends.quantized.engine = str(target.engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecation: known, and nothing that the user asked for
        quantized: nn.Module = quantize_dynamic(copy.deepcopy(module), {nn.Linear}, dtype=torch.qint8)
    return quantized
