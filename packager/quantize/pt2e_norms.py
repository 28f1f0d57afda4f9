"""Batch norms of a network that is trained with rounding (QAT): each becomes one with the layer before it.

The layer's weight is rounded as it will be once the batch norm is folded into it, while the batch norm still goes by
each batch: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference", section 3.2, with the running variance as torch.ao and torchao have it. torchao's own rewriting does the
same by a search for patterns, which takes a minute, and knows one epsilon and one momentum only.
"""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional

from packager.quantize.torchao_pt2e import QUANT_ANNOTATION_KEY, Quantizer

aten = torch.ops.aten
BATCH_NORM = aten.batch_norm.default
WEIGHT, BIAS = 1, 2
"""Places of a layer's arguments."""
DIMENSIONS = {aten.conv1d.default: 3, aten.conv2d.default: 4, aten.linear.default: 2}
"""Layer -> how many there are behind it where it has its channels in the same one as a batch norm."""


def scaled(weight: Tensor, gamma: Tensor | None, variance: Tensor, epsilon: float) -> Tensor:
    """Return the weight as it is with the batch norm in it."""
    return weight * _scale(gamma, variance, epsilon).view(-1, *(1 for _ in weight.shape[1:]))


def normalised(  # noqa: PLR0913, PLR0917 - the arguments of two operators
    features: Tensor,
    bias: Tensor | None,
    gamma: Tensor | None,
    beta: Tensor | None,
    mean: Tensor,
    variance: Tensor,
    training: bool,
    momentum: float,
    epsilon: float,
) -> Tensor:
    """Return what the batch norm makes of what a layer with a scaled weight has made."""
    channels = (1, -1, *(1 for _ in features.shape[2:]))
    features = features / _scale(gamma, variance, epsilon).view(channels)
    if bias is not None:
        features = features + bias.view(channels)
    return functional.batch_norm(features, mean, variance, gamma, beta, training, momentum, epsilon)


class WithNorms(Quantizer):  # type: ignore[misc]  # torchao ships no types
    """A quantizer of torchao's, and batch norms joined with the layers before them once it has made its notes."""

    def __init__(self, quantizer: Quantizer) -> None:
        self.quantizer = quantizer

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Change the graph as the quantizer needs it."""
        transformed: GraphModule = self.quantizer.transform_for_annotation(model)
        return transformed

    def annotate(self, model: GraphModule) -> GraphModule:
        """Note at each node what of it is rounded."""
        annotated: GraphModule = self.quantizer.annotate(model)
        return annotated

    def validate(self, model: GraphModule) -> None:
        """Look the notes over, and join."""
        self.quantizer.validate(model)
        join(model)


def join(network: GraphModule) -> None:
    """Let the layer before each batch norm have the weight that it will have in the end."""
    for norm in network.graph.find_nodes(op="call_function", target=BATCH_NORM):
        _, gamma, beta, mean, variance, training, momentum, epsilon, *_ = norm.args
        layer, weight, bias = _layer(norm)
        if weight is None or not _can_join(layer):
            continue
        with network.graph.inserting_before(layer):
            final = network.graph.call_function(scaled, (weight, gamma, variance, epsilon))
        notes = layer.meta.get(QUANT_ANNOTATION_KEY)
        if notes is not None:
            specs = notes.input_qspec_map.items()
            notes.input_qspec_map = {final if node is weight else node: spec for node, spec in specs}
        layer.args = (layer.args[0], final, None, *layer.args[BIAS + 1 :])
        norm.target = normalised
        norm.args = (layer, bias, gamma, beta, mean, variance, training, momentum, epsilon)
    hide(network)


def hide(network: GraphModule) -> None:
    """Give the batch norms that have no layer to join another name: where torchao sees one, it starts its search."""
    for norm in network.graph.find_nodes(op="call_function", target=BATCH_NORM):
        features, gamma, beta, mean, variance, *rest = norm.args
        norm.target = functional.batch_norm
        norm.args = (features, mean, variance, gamma, beta, *rest[:3])
    network.recompile()


def fold(network: GraphModule) -> None:
    """Fold each batch norm that was joined with a layer into that layer's weight and bias."""
    norms = network.graph.find_nodes(op="call_function", target=normalised)
    folded = [_folded(network, norm) for norm in norms]  # all of them, before a weight that is used twice is changed
    uses = Counter[str]()
    for norm, (name, weight, bias) in zip(norms, folded, strict=True):
        layer, rounding, _ = _layer(norm)
        uses[name] += 1
        suffix = str(uses[name]) if uses[name] > 1 else ""
        with network.graph.inserting_before(network.graph.find_nodes(op="placeholder")[0]):
            held = [
                _held(network, f"{name}.{part}{suffix}", value) for part, value in (("weight", weight), ("bias", bias))
            ]
        if rounding is not None and rounding.op == "call_module":
            rounding.update_arg(0, held[0])
        else:
            layer.update_arg(WEIGHT, held[0])
        layer.update_arg(BIAS, held[1])
        norm.replace_all_uses_with(layer)
        network.graph.erase_node(norm)
    network.graph.eliminate_dead_code()
    network.recompile()


def _folded(network: GraphModule, norm: Node) -> tuple[str, Tensor, Tensor]:
    """Return the name of the layer before a joined batch norm, and the weight and bias that they make together."""
    _, final, _ = _layer(norm)
    if final is not None and final.op == "call_module":
        final = final.all_input_nodes[0]
    assert final is not None
    source, epsilon = final.all_input_nodes[0], norm.args[-1]
    assert isinstance(epsilon, float)
    bias, gamma, beta, mean, variance = (_value(network, each) for each in norm.args[1:6])
    weight = _value(network, source)
    assert weight is not None
    assert mean is not None
    assert variance is not None
    scale = (torch.ones_like(mean) if gamma is None else gamma) / torch.sqrt(variance + epsilon)
    shift = (-mean if bias is None else bias - mean) * scale
    return (
        str(source.target).removesuffix(".weight"),
        weight * scale.view(-1, *(1 for _ in weight.shape[1:])),
        shift if beta is None else shift + beta,
    )


def _scale(gamma: Tensor | None, variance: Tensor, epsilon: float) -> Tensor:
    """Return what a batch norm multiplies each channel by; of a channel that it makes zero, as if it left it be."""
    deviation = torch.sqrt(variance + epsilon)
    return (1 if gamma is None else torch.where(gamma == 0, 1, gamma)) / deviation


def _layer(norm: Node) -> tuple[Node, Node | None, Node | None]:
    """Return what comes before a batch norm, and where that has them its weight and bias."""
    layer = norm.all_input_nodes[0]
    weight, bias = ((*layer.args, None, None, None)[place] for place in (WEIGHT, BIAS))
    return layer, weight if isinstance(weight, Node) else None, bias if isinstance(bias, Node) else None


def _can_join(layer: Node) -> bool:
    _, weight, _ = _layer(next(iter(layer.users)))
    notes = layer.meta.get(QUANT_ANNOTATION_KEY)
    return (
        layer.target in DIMENSIONS
        and len(layer.users) == 1
        and weight is not None
        and weight.op == "get_attr"
        and len(layer.meta["val"].shape) == DIMENSIONS[layer.target]
        and (notes is None or notes.output_qspec is None)
    )


def _value(network: GraphModule, node: object) -> Tensor | None:
    """Return the parameter or buffer that a node stands for."""
    if not isinstance(node, Node):
        return None
    owner, _, name = str(node.target).rpartition(".")
    value = getattr(network.get_submodule(owner), name)
    assert isinstance(value, Tensor)
    return value


def _held(network: GraphModule, path: str, value: Tensor) -> Node:
    """Return a node that stands for a new parameter of that name."""
    owner, _, name = path.rpartition(".")
    network.get_submodule(owner).register_parameter(name, nn.Parameter(value.detach(), requires_grad=False))
    return network.graph.get_attr(path)
