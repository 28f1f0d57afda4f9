"""A traced network as eager mode wants it: a module for every call, and those fused that have one integer kernel.

Eager mode exchanges modules, and does not see what a network's forward() computes by functions and operators.
"""

import copy
from collections import Counter
from collections.abc import Callable

import torch
from torch import nn
from torch.ao.quantization import fuse_modules
from torch.fx import GraphModule, Node
from torch.nn import functional

ACTIVATIONS: dict[object, Callable[[], nn.Module]] = {
    **dict.fromkeys((functional.relu, functional.relu_, torch.relu, torch.relu_, "relu", "relu_"), nn.ReLU),
    functional.relu6: nn.ReLU6,
    functional.hardswish: nn.Hardswish,
    functional.hardsigmoid: nn.Hardsigmoid,
    **dict.fromkeys((torch.sigmoid, functional.sigmoid, "sigmoid"), nn.Sigmoid),
}
"""Functions and methods of one tensor -> the module that does the same."""
WITHOUT_EFFECT = (nn.Identity, nn.modules.dropout._DropoutNd)  # noqa: SLF001 - what torch's dropouts have in common
DROPOUTS = ("dropout", "stochastic_depth", "drop_path")
"""Functions by their names: torch's, torchvision's, timm's."""
FUSED: dict[type[nn.Module], tuple[type[nn.Module], ...]] = {
    nn.Conv1d: (nn.BatchNorm1d, nn.ReLU),
    nn.Conv2d: (nn.BatchNorm2d, nn.ReLU),
    nn.Linear: (nn.BatchNorm1d, nn.ReLU),
    nn.BatchNorm2d: (nn.ReLU,),
}
"""A layer -> what it takes over from behind it. Of these exactly: a class derived from them may compute otherwise."""


def modular(network: GraphModule) -> None:
    """Bring a traced network, in eval mode, into the form that eager mode wants; it computes what it did."""
    for step in (_drop_what_has_no_effect, _activations_are_modules, _a_module_for_every_call, _split_relu6, _fuse):
        step(network)
        network.graph.lint()
    network.delete_all_unused_submodules()
    network.recompile()


def layer(network: GraphModule, node: Node) -> nn.Module | None:
    """Return the module that a node calls, if it does."""
    return network.get_submodule(str(node.target)) if node.op == "call_module" else None


def insert(network: GraphModule, module: nn.Module, after: Node) -> Node:
    """Put a module behind a node, which alone uses its result until others are told to use the module's."""
    name = f"{after.name}_{type(module).__name__.lower()}"
    while hasattr(network, name):
        name += "_"
    network.add_submodule(name, module)
    with network.graph.inserting_after(after):
        node = network.graph.call_module(name, (after,))
    node.meta = dict(after.meta)
    return node


def _drop_what_has_no_effect(network: GraphModule) -> None:
    for node in list(network.graph.nodes):
        function = node.op == "call_function" and getattr(node.target, "__name__", "") in DROPOUTS
        if node.args and (function or isinstance(layer(network, node), WITHOUT_EFFECT)):
            _bypass(network, node)


def _activations_are_modules(network: GraphModule) -> None:
    for node in list(network.graph.nodes):
        if node.op in ("call_function", "call_method") and node.args and node.target in ACTIVATIONS:
            module = insert(network, ACTIVATIONS[node.target](), node)
            module.args, module.meta = (node.args[0],), node.meta
            node.replace_all_uses_with(module)
            network.graph.erase_node(node)


def _a_module_for_every_call(network: GraphModule) -> None:
    """Give each call of a module without weights one of its own: it is fused, or observed, by itself."""
    seen: set[str] = set()
    for node in list(network.graph.nodes):
        module = layer(network, node)
        if module is None or next(module.parameters(), None) is not None:
            continue
        if str(node.target) in seen:
            own = insert(network, copy.deepcopy(module), node)
            own.args, own.meta = node.args, node.meta
            node.replace_all_uses_with(own)
            network.graph.erase_node(node)
        seen.add(str(node.target))


def _split_relu6(network: GraphModule) -> None:
    """Put a ReLU, which a layer takes over, before each ReLU6, which none does: what is negative is gone by then."""
    for node in list(network.graph.nodes):
        if isinstance(layer(network, node), nn.ReLU6):
            before = node.args[0]
            if isinstance(before, Node) and type(layer(network, before)) in FUSED and len(before.users) == 1:
                relu = insert(network, nn.ReLU(), before)
                node.args = (relu,)


def _fuse(network: GraphModule) -> None:
    """Let layers take over the batch norms and ReLUs behind them."""
    calls = Counter(str(node.target) for node in network.graph.nodes if node.op == "call_module")
    for node in list(network.graph.nodes):
        before = node.args[0] if node.args else None
        if not isinstance(before, Node) or len(before.users) != 1 or calls[str(before.target)] != 1:
            continue
        module = layer(network, before)
        if module is not None and type(layer(network, node)) in FUSED.get(type(module), ()):
            fuse_modules(network, [str(before.target), str(node.target)], inplace=True)
            _bypass(network, node)


def _bypass(network: GraphModule, node: Node) -> None:
    before = node.args[0]
    assert isinstance(before, Node)
    node.replace_all_uses_with(before)
    network.graph.erase_node(node)
