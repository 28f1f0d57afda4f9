"""Cross-layer equalization: the channels between two layers are scaled so that both layers' weights use their range.

Where nothing between the layers minds a positive scale, a channel that the first makes smaller and the second larger
leaves the answers as they are: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
Correction", section 4.1. Depthwise networks quantized with one scale per tensor need it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from packager.quantize.folding import Layer, data_users, folded, must_agree, own_layers, recompiled, shape, submodule

POINTWISE = {
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout2d,
    functional.relu, functional.leaky_relu, functional.dropout, torch.relu, "relu", "relu_", "contiguous",
}  # fmt: skip
POOLS = {
    nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d,
    functional.max_pool2d, functional.avg_pool2d, functional.adaptive_avg_pool2d, functional.adaptive_max_pool2d,
}  # fmt: skip
RELU6 = {nn.ReLU6, functional.relu6}
FLATTENS = {nn.Flatten, torch.flatten, "flatten", "view", "reshape"}
MEANS = {torch.mean, "mean"}
CEILING = 6.0
MOST_ROUNDS = 100
CONVERGED = 1e-3
"""Change of the largest scale in a round."""


class ScaledReLU6(nn.Module):
    """A ReLU6 whose upper limit was scaled with its channels."""

    ceilings: Tensor

    def __init__(self, ceilings: Tensor) -> None:
        super().__init__()
        self.register_buffer("ceilings", ceilings)

    def forward(self, x: Tensor) -> Tensor:
        """Return x between 0 and its channel's ceiling."""
        return torch.minimum(functional.relu(x), self.ceilings)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pair:
    """Two layers, and what lies between them."""

    first: Layer
    second: Layer
    between: tuple[fx.Node, ...]
    activation: Tensor
    """Per channel, the largest value that the example has behind the first layer."""
    scale: Tensor
    """Per channel, what the first layer has been divided by so far."""


def equalized(module: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of the network, in eval mode and without batch norms, that answers the same.

    Layers keep their names. `example` is a batch of prepared images. Raises StepError naming the layer that cannot be
    traced.
    """
    network = folded(module, example)
    with torch.no_grad():
        pairs = _pairs(network, example)
        for _ in range(MOST_ROUNDS):
            if max((_equalize(pair) for pair in pairs), default=0.0) < CONVERGED:
                break
        for pair in pairs:
            _scale_ceilings(network, pair)
    network = recompiled(network)
    must_agree(module, network, example, "equalization")
    return network


def _equalize(pair: Pair) -> float:
    """Scale the channels between two layers, and return the logarithm of the largest scale.

    Each channel's share of the first tensor's range becomes its share of the second's (equation 11). The bound
    is not in the paper: a channel whose weights are small and whose bias is large would otherwise stretch the range
    of all activations.
    """
    rows, columns = pair.first.weight, _by_input(pair.second, len(pair.scale))
    first, second = rows.flatten(1).abs().amax(1), columns.abs().amax((1, 3)).flatten()
    scale = ((first / first.amax()) / (second / second.amax())).sqrt()
    scale = torch.maximum(scale, pair.activation / pair.activation.amax() / pair.scale)
    scale = torch.where((first > 0) & (second > 0) & scale.isfinite(), scale, 1.0)
    rows.div_(scale.view(-1, *[1] * (rows.dim() - 1)))
    if pair.first.bias is not None:
        pair.first.bias.div_(scale)
    columns.mul_(scale.view(columns.shape[0], 1, columns.shape[2], 1))
    pair.scale.mul_(scale)
    return scale.log().abs().max().item()


def _by_input(layer: Layer, channels: int) -> Tensor:
    """Return a view of the weight: groups x outputs x inputs x weights of one input; flattened pixels are of one."""
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    weight = layer.weight
    return weight.view(groups, weight.shape[0] // groups, channels // groups, -1)


def _pairs(network: fx.GraphModule, example: Tensor) -> list[Pair]:
    layers = own_layers(network)
    paths = {node: path for node in layers if (path := _path(network, node, layers))}
    largest = Largest(network, {node: path[0] if path[1:] else node for node, path in paths.items()})
    largest.run(example)
    return [
        Pair(
            first=layers[node],
            second=layers[path[-1]],
            between=path[:-1],
            activation=largest.found[node],
            scale=torch.ones(len(layers[node].weight)),
        )
        for node, path in paths.items()
    ]


class Largest(fx.Interpreter):
    """Runs a network and notes the largest absolute value in each channel behind some layers."""

    def __init__(self, network: fx.GraphModule, watched: Mapping[fx.Node, fx.Node]) -> None:
        super().__init__(network)
        self.layers = {seen: layer for layer, seen in watched.items()}
        self.found: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> object:
        """Run a node, and note what comes out where it is watched."""
        output = super().run_node(n)
        if n in self.layers and isinstance(output, Tensor):
            channels = shape(self.layers[n])[1]
            self.found[self.layers[n]] = output.detach().abs().reshape(len(output), channels, -1).amax((0, 2))
        return output


def _path(network: fx.GraphModule, start: fx.Node, layers: Mapping[fx.Node, Layer]) -> tuple[fx.Node, ...]:
    """Return the nodes from behind a layer to the next one, it included; nothing where one of them minds a scale."""
    path = [start]
    while len(users := data_users(path[-1])) == 1 and users[0].args and users[0].args[0] is path[-1]:
        before, node = path[-1], users[0]
        path.append(node)
        if node in layers:
            return (
                tuple(path[1:])
                if _along_channels(layers[start], start) and _along_channels(layers[node], before)
                else ()
            )
        if not _bears_a_scale(network, before, node):
            break
    return ()


def _along_channels(layer: Layer, tensor: fx.Node) -> bool:
    """Say whether the tensor before or behind a layer has the channels in its second dimension."""
    return len(shape(tensor)) == (4 if isinstance(layer, nn.Conv2d) else 2)


def _bears_a_scale(network: fx.GraphModule, before: fx.Node, node: fx.Node) -> bool:
    """Say whether a node gives the scaled answer to a scaled tensor, channel by channel."""
    kind, source, result = _kind(network, node), shape(before), shape(node)
    if kind in FLATTENS:
        return len(source) >= 2 and len(result) == 2 and source[0] == result[0]
    if kind in MEANS:
        dimensions = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", ())
        return len(source) == 4 and bool(dimensions) and set(_listed(dimensions)) <= {2, 3, -1, -2}
    if kind in POOLS:
        return len(source) == len(result) == 4
    return kind in POINTWISE or kind in RELU6


def _listed(dimensions: object) -> Sequence[object]:
    return dimensions if isinstance(dimensions, Sequence) else (dimensions,)


def _kind(network: fx.GraphModule, node: fx.Node) -> object:
    """Return a layer's type, or the function or the method's name."""
    layer = submodule(network, node)
    return node.target if layer is None else type(layer)


def _scale_ceilings(network: fx.GraphModule, pair: Pair) -> None:
    for node in pair.between:
        if _kind(network, node) not in RELU6:
            continue
        dimensions = shape(node)
        ceilings = (CEILING / pair.scale).repeat_interleave(dimensions[1] // len(pair.scale))
        scaled = ScaledReLU6(ceilings.view(1, -1, *[1] * (len(dimensions) - 2)))
        calls = [other for other in network.graph.nodes if other.op == "call_module" and other.target == node.target]
        name = str(node.target) if calls == [node] else f"{node.name}_scaled"
        network.add_submodule(name, scaled)
        with network.graph.inserting_after(node):
            replacement = network.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(replacement)
        network.graph.erase_node(node)
