"""Batch norms folded into the layers before them: the network then has the weights that are quantized in the end."""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights

from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import quiet
from runner.errors import StepError, first_line

Layer = nn.Conv2d | nn.Linear
LAYERS = (nn.Conv2d, nn.Linear)
# Of these exactly: a class derived from them may compute something else.
FOLDS = ((nn.Conv2d, nn.BatchNorm2d, 4), (nn.Linear, nn.BatchNorm1d, 2))
"""Layer, batch norm, and how many dimensions there are between them when both have the channels in the same one."""
TOLERANCE = 1e-3
"""Of the largest answer: what float32 may differ by where the same is computed with other weights."""


def folded(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return a copy of the network, in eval mode, without the batch norms that a layer before them can take over.

    Layers keep their names. `example` is a batch of any size. Raises StepError naming the layer that cannot be traced.
    """
    network = traced(module, example)
    layers = own_layers(network)
    for node in list(network.graph.nodes):
        previous = node.args[0] if node.args else None
        if not isinstance(previous, fx.Node) or previous not in layers or len(data_users(previous)) != 1:
            continue
        layer, norm = layers[previous], submodule(network, node)
        kinds = (type(layer), type(norm), len(shape(previous)))
        if kinds in FOLDS and isinstance(norm, nn.modules.batchnorm._BatchNorm) and norm.running_var is not None:  # noqa: SLF001 - torch has no public name for what both are
            _fold(layer, norm)
            node.replace_all_uses_with(previous)
            network.graph.erase_node(node)
    return recompiled(network)


def traced(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """Return a copy of the network in eval mode as a graph, whose nodes know their shapes. Raises StepError."""

    def trace(network: nn.Module) -> fx.GraphModule:
        return fx.symbolic_trace(network)

    original = copy.deepcopy(module).eval().to(memory_format=torch.contiguous_format)
    with quiet(), torch.no_grad():
        try:
            network = trace(original)
        except Exception as error:
            layer = failing_layer(original, trace)
            what = f"the network cannot be traced, in {layer}: {first_line(error)}"
            advice = f"{ADVICE}, or pack without `equalize` and `correct_bias`"
            raise StepError(what, advice=advice) from error
        ShapeProp(network).propagate(example)
    return network


def recompiled(network: fx.GraphModule) -> fx.GraphModule:
    """Return the network after a change of its graph, without the layers that are no longer in it."""
    network.delete_all_unused_submodules()
    network.graph.lint()
    network.recompile()
    return network


def own_layers(network: fx.GraphModule) -> Mapping[fx.Node, Layer]:
    """Return, in order of execution, the layers whose weights are parameters that nothing else in the network uses."""
    uses = Counter(id(parameter) for node in network.graph.nodes for parameter in _parameters(network, node))
    return {
        node: layer
        for node in network.graph.nodes
        if isinstance(layer := submodule(network, node), LAYERS)
        and type(layer) in LAYERS
        and "weight" in dict(layer.named_parameters())  # not one that is computed from others
        and all(uses[id(parameter)] == 1 for parameter in layer.parameters())
    }


def data_users(node: fx.Node) -> list[fx.Node]:
    """Return the nodes that use a tensor's values, and not its shape alone."""
    return [
        user
        for user in node.users
        if not (user.op == "call_method" and user.target in ("size", "dim"))
        and not (user.target is getattr and user.args[1] in ("shape", "ndim"))
    ]


def shape(node: fx.Node) -> tuple[int, ...]:
    """Return the shape of a node's tensor for the example, or nothing where it is not a tensor."""
    return tuple(getattr(node.meta.get("tensor_meta"), "shape", ()))


def must_agree(before: nn.Module, after: nn.Module, example: Tensor, change: str) -> None:
    """Raise StepError where a change of the network has changed its answers by more than float32 rounds."""
    with torch.no_grad():
        expected, answers = copy.deepcopy(before).eval()(example), after(example)
    difference, largest = (answers - expected).abs().max().item(), expected.abs().max().item()
    if not difference <= TOLERANCE * largest:
        what = f"{change} has changed the network's answers by {difference:.3g} where the largest is {largest:.3g}"
        raise StepError(what, advice="pack without `equalize` and `correct_bias`")


def _fold(layer: Layer, norm: nn.modules.batchnorm._BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    fuse = fuse_conv_bn_weights if isinstance(layer, nn.Conv2d) else fuse_linear_bn_weights
    weight, bias = fuse(layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    # A new bias comes without gradients, and this network may be trained further.
    layer.weight, layer.bias = weight, bias.requires_grad_(weight.requires_grad)


def _parameters(network: fx.GraphModule, node: fx.Node) -> Iterator[Tensor]:
    if node.op == "call_module":
        yield from network.get_submodule(str(node.target)).parameters()
    if node.op == "get_attr":
        owner, _, name = str(node.target).rpartition(".")
        value = getattr(network.get_submodule(owner), name)
        if isinstance(value, Tensor):
            yield value


def submodule(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return the layer that a node calls, if it does."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None
