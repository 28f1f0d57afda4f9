"""Which operators of a LiteRT file belong to the layers that stay in fp32, by the names that the converter gives."""

import re
from collections.abc import Iterator

from ai_edge_litert.schema_py_generated import OperatorT
from torch import nn

from packager.export.litert_graph import Graph
from packager.quantize import Order
from packager.quantize import keep_fp32 as network
from runner.errors import StepError

AS_IT_IS = "no_quantize"
"""ai-edge-quantizer's name for leaving an operator alone."""
NEVER_CALLED = (nn.ModuleList, nn.ModuleDict)
"""What only holds layers: no trace goes through it."""
NUMBER = re.compile(r"\d*$")
"""What the converter adds to a name that is taken."""


def kept(graph: Graph, module: nn.Module, order: Order) -> tuple[str, ...]:
    """Return a pattern for each operator that stays in fp32, of which it is the whole scope.

    Raises StepError for a pattern of the recipe that names nothing, or where all stays or nothing was found.
    """
    if not order.plan.keep_fp32:
        return ()
    layers = {_scope(module, name) for name in network.kept(module, order)}
    found = tuple(
        f"^{re.escape(graph.tensor_name(each.outputs[0]))};$"
        for each in graph.graph.operators
        if any(_layer(name) in layers for name in _names(graph, each))
    )
    if not found:
        what = f"of {', '.join(order.plan.keep_fp32)} nothing was found in the file that litert-torch made"
        raise StepError(what, where="keep_fp32", advice="the name of the block that the layer is in, or leave it out")
    return found


def _names(graph: Graph, operator: OperatorT) -> Iterator[str]:
    """Yield what an operator may have a layer's name from: its result, which at the end has another, or its weight."""
    yield graph.tensor_name(operator.outputs[0])
    yield from (graph.tensor_name(each) for each in operator.inputs[1:2] if graph.is_constant(each))


def _layer(name: str) -> str:
    """Return the innermost of the layers that were merged into one operator: `…ReLU_2;;…Conv2d_0;1` is a Conv2d's."""
    return NUMBER.sub("", name).rstrip(";").split(";;")[-1]


def _scope(module: nn.Module, name: str) -> str:
    """Return what litert-torch calls a layer: the classes on the road to it, each with the last part of its name."""
    return "/".join(_steps(module, name))


def _steps(module: nn.Module, name: str) -> Iterator[str]:
    yield _class(module)
    parts = name.split(".")
    for depth, part in enumerate(parts, 1):
        layer = module.get_submodule(".".join(parts[:depth]))
        if not isinstance(layer, NEVER_CALLED):
            yield f"{_class(layer)}_{part}"


def _class(layer: nn.Module) -> str:
    return f"{type(layer).__module__}.{type(layer).__qualname__}"
