"""Which operators of a LiteRT file belong to the layers that stay in fp32, by the names that the converter gives."""

import re
from collections.abc import Iterator

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
    outputs = [graph.tensor_name(index) for each in graph.graph.operators for index in each.outputs]
    found = tuple(f"^{re.escape(name)};$" for name in outputs if _layer(name) in layers)
    if not found:
        what = f"of {', '.join(order.plan.keep_fp32)} nothing was found in the file that litert-torch made"
        raise StepError(what, where="keep_fp32", advice="the name of the block that the layer is in, or leave it out")
    return found


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
