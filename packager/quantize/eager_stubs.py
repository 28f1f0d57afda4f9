"""Which parts of a network become int8 in eager mode, and what stands where int8 and fp32 meet."""

import operator
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.ao.nn import intrinsic
from torch.ao.nn.quantized import FloatFunctional
from torch.ao.quantization import DeQuantStub, QuantStub
from torch.fx import GraphModule, Node
from torch.nn import functional

from packager.quantize.eager_graph import insert, layer

LAYERS = (
    *(nn.Conv1d, nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Hardswish, nn.LeakyReLU, nn.ELU),
    *(intrinsic.ConvReLU1d, intrinsic.ConvReLU2d, intrinsic.LinearReLU, intrinsic.BNReLU2d),
)
"""Modules that eager mode exchanges for integer ones."""
PASSING = (
    *(nn.ReLU, nn.ReLU6, nn.Sigmoid, nn.Hardsigmoid, nn.Flatten, nn.ChannelShuffle),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
)
"""Modules that take integers as well as numbers in fp32, and return what they take."""
PASSING_FUNCTIONS: tuple[object, ...] = (
    *(torch.flatten, torch.chunk, torch.mean, torch.transpose, torch.permute, torch.squeeze, torch.unsqueeze),
    *(operator.getitem, functional.avg_pool2d, functional.adaptive_avg_pool2d),
    *(functional.max_pool2d, torch.max_pool2d),
    *("flatten", "chunk", "mean", "transpose", "permute", "squeeze", "unsqueeze", "view", "reshape", "contiguous"),
)
"""Functions and methods that do so."""
ARITHMETIC: dict[object, str] = {
    **dict.fromkeys((operator.add, operator.iadd, torch.add, "add", "add_"), "add"),
    **dict.fromkeys((operator.mul, operator.imul, torch.mul, "mul", "mul_"), "mul"),
    **dict.fromkeys((torch.cat, torch.concat), "cat"),
}
"""Functions and methods -> that of FloatFunctional which does the same, and can be exchanged."""


def quantized(network: GraphModule, stays_fp32: Callable[[str], bool]) -> tuple[nn.Module, ...]:
    """Put stubs, and modules for arithmetic, into the network, and return those modules that are to become int8."""
    int8 = _in_int8(network, stays_fp32)
    for node in list(network.graph.nodes):
        if node in int8 and node.target == "view":
            node.target = "reshape"  # integers lie channels last, where a view cannot flatten them
        if node in int8 and node.target in ARITHMETIC:
            _arithmetic(network, node, int8)
    stubs = [*_stubs(network, int8)]
    network.recompile()
    named = [node for node in network.graph.nodes if node in int8 and node.op in {"call_module", "get_attr"}]
    modules = [network.get_submodule(str(node.target)) for node in named]
    return (*(module for module in modules if isinstance(module, (*LAYERS, FloatFunctional))), *stubs)


def _in_int8(network: GraphModule, stays_fp32: Callable[[str], bool]) -> set[Node]:
    """Return the nodes whose results are integers."""
    int8: set[Node] = set()
    for node in network.graph.nodes:
        tensors = [each for each in node.all_input_nodes if is_tensor(each)]
        module, taken = layer(network, node), [each in int8 for each in tensors]
        if node.op in ("placeholder", "output", "get_attr") or stays_fp32(_name(node)):
            continue
        if type(module) in LAYERS:
            int8.add(node)
        elif type(module) in PASSING or node.target in PASSING_FUNCTIONS:
            if tensors and all(taken):
                int8.add(node)
        elif _exchangeable(node, tensors) and any(taken):
            int8.add(node)
    return int8


def _exchangeable(node: Node, tensors: list[Node]) -> bool:
    """Say whether the node is arithmetic of tensors for which there are integer kernels."""
    kind = ARITHMETIC.get(node.target) if node.op in ("call_function", "call_method") else None
    if kind is None or not all(is_tensor(each) for each in tensors):
        return False
    if kind == "cat":
        return bool(tensors)
    operands = [each for each in node.args if isinstance(each, Node)]
    # The integer sum is of equal shapes, while the product spreads one operand over the other.
    return (
        len(node.args) == len(operands) == 2
        and not node.kwargs
        and (kind == "mul" or len({*map(shape, operands)}) == 1)
    )


def _arithmetic(network: GraphModule, node: Node, int8: set[Node]) -> None:
    """Exchange an operator for a module's method, and with it the ReLU behind it."""
    kind = ARITHMETIC[node.target]
    relu = next(iter(node.users)) if len(node.users) == 1 else None
    if kind == "add" and relu is not None and relu in int8 and isinstance(layer(network, relu), nn.ReLU):
        relu.replace_all_uses_with(node)
        network.graph.erase_node(relu)
        kind = "add_relu"
    name = f"{node.name}_{kind}"
    network.add_submodule(name, FloatFunctional())
    with network.graph.inserting_before(node):
        module = network.graph.get_attr(name)
        own = network.graph.call_method(kind, (module, *node.args), node.kwargs)
    own.meta = node.meta
    int8.discard(node)
    int8 |= {own, module}
    node.replace_all_uses_with(own)
    network.graph.erase_node(node)


def _stubs(network: GraphModule, int8: set[Node]) -> Iterator[nn.Module]:
    """Put a stub behind each tensor that is used on both sides, or on the other one, and yield the stubs."""
    for node in list(network.graph.nodes):
        across = [user for user in node.users if _has_tensors(user) and (user in int8) != (node in int8)]
        if is_tensor(node) and across:
            stub = DeQuantStub() if node in int8 else QuantStub()
            own = insert(network, stub, node)
            if node not in int8:
                int8.add(own)
            for user in across:
                user.replace_input_with(node, own)
            yield stub


def _has_tensors(node: Node) -> bool:
    return node.op == "output" or is_tensor(node)


def is_tensor(node: Node) -> bool:
    """Say whether the node's result is a tensor, or several."""
    return "tensor_meta" in node.meta


def shape(node: Node) -> tuple[int, ...]:
    """Return the shape of a node's tensor for the example, or nothing where there are several."""
    return tuple(getattr(node.meta["tensor_meta"], "shape", ())) if is_tensor(node) else ()


def _name(node: Node) -> str:
    """Return the name of the layer that a node is, or else is in."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(next(reversed(stack.values()))[0]) if stack else ""
