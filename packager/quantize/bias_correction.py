"""Bias correction: what rounding the weights adds to an output channel on average is taken off the layer's bias.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 4.2, by samples
(appendix D). The network stays in fp32: whatever rounds its weights afterwards in the same way profits.
"""

import copy
import math
from collections.abc import Callable, Iterable
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from packager.quantize.folding import LAYERS, Layer, folded, own_layers

ONNX_RUNTIME, TORCH = 127.0, 127.5
"""Steps between zero and the largest weight: ONNX Runtime's and torch's scales of int8 differ by half a step."""
REDUCED_ONNX_RUNTIME, REDUCED_PT2E = 64.0, 63.5
"""The same, for a target that reduces the range of weights; torch's other techniques take that of activations."""


class Shift:
    """How far off each output channel of a layer is on average when weights are rounded."""

    def __init__(self, exact: Layer, rounded: Layer) -> None:
        """Watch a layer in a copy of the network, and correct it in a copy with rounded weights."""
        self.mean = self.expected = torch.zeros(len(exact.weight))
        self.samples = 0
        exact.register_forward_hook(self._expect)
        rounded.register_forward_hook(self._correct)

    def _expect(self, layer: nn.Module, _: object, output: Tensor) -> None:
        self.expected = _channel_means(layer, output)

    def _correct(self, layer: nn.Module, _: object, output: Tensor) -> Tensor:
        self.samples += len(output)
        shift = _channel_means(layer, output) - self.expected
        self.mean = self.mean + (shift - self.mean) * (len(output) / self.samples)
        return output - (self.mean.view(-1, 1, 1) if isinstance(layer, nn.Conv2d) else self.mean)


def corrected(
    module: nn.Module,
    batches: Iterable[NDArray[np.float32]],
    *,
    per_channel: bool,
    steps: float = ONNX_RUNTIME,
    stays_fp32: Callable[[str], bool] = lambda _: False,
) -> nn.Module:
    """Return a copy of the network, in eval mode and without batch norms: its weights, with corrected biases.

    Each batch goes through the network and through one with rounded weights. There a layer is corrected by what is
    known so far before the next one sees its answers, so that what earlier layers did is made good as well. Raises
    StepError naming the layer that cannot be traced.
    """
    batches = iter(batches)
    first = next(batches)
    network = folded(module, torch.from_numpy(first))
    exact, rounded = copy.deepcopy(network), copy.deepcopy(network)
    for name, layer in rounded.named_modules():
        if isinstance(layer, LAYERS) and not stays_fp32(name):
            layer.weight.data = _rounded(layer.weight.data, steps, per_channel=per_channel)
    names = [name for node in own_layers(network) if not stays_fp32(name := str(node.target))]
    shifts = {name: Shift(_layer(exact, name), _layer(rounded, name)) for name in names}
    with torch.no_grad():
        for batch in chain([first], batches):
            exact(torch.from_numpy(batch))
            rounded(torch.from_numpy(batch))
    for name, shift in shifts.items():
        layer = _layer(network, name)
        before = torch.zeros_like(shift.mean) if layer.bias is None else layer.bias.detach()
        layer.bias = nn.Parameter(before - shift.mean, requires_grad=layer.weight.requires_grad)
    return network


def _rounded(weight: Tensor, steps: float, *, per_channel: bool) -> Tensor:
    """Return the weight as symmetric int8 has it, with one scale per output channel or one in all."""
    largest = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True) if per_channel else weight.abs().amax()
    scale = (largest / steps).clamp_min(torch.finfo(weight.dtype).tiny)
    return (weight / scale).round().clamp(-math.ceil(steps), math.floor(steps)) * scale


def _channel_means(layer: nn.Module, output: Tensor) -> Tensor:
    return output.mean((0, 2, 3)) if isinstance(layer, nn.Conv2d) else output.flatten(0, -2).mean(0)


def _layer(network: nn.Module, name: str) -> Layer:
    layer = network.get_submodule(name)
    assert isinstance(layer, LAYERS)
    return layer
