"""What of a network is in int8 or in fp32 as a whole: an operator with the activation that is folded into it."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx

from packager.quantize.onnx_graph import layers
from packager.quantize.onnx_operators import PRODUCTS, operators
from packager.quantize.sensitivity import FOLLOWING
from packager.recipe import Assignment, OnnxOperators
from runner.errors import StepError, nearest

ALL = "*"
"""All nodes, in an assignment."""
FEWEST_BLOCKS = 4
"""The parts of a network are told apart by as much of their layers' names as it takes for so many of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """Nodes of a prepared model that become integers together, or not."""

    name: str
    """Of the first node."""
    nodes: tuple[str, ...]
    tensors: tuple[str, ...]
    """What the nodes compute."""
    kind: str
    """The operator's type; of convolutions, which."""
    layer: str
    """The layer that it is, or that comes before it; empty before the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """Which units become integers, and in which form."""

    operators: OnnxOperators
    fp32: frozenset[str]
    """Names of units."""

    def assignment(self, units: Sequence[Unit]) -> Assignment:
        """Return it as a recipe has it: by nodes, in the graph's order."""
        if self.fp32.issuperset(unit.name for unit in units):
            return Assignment(operators=self.operators, fp32=(ALL,))
        nodes = tuple(node for unit in units if unit.name in self.fp32 for node in unit.nodes)
        return Assignment(operators=self.operators, fp32=nodes)


def units(model: onnx.ModelProto, kept: Collection[str] = ()) -> tuple[Unit, ...]:
    """Return what of a prepared model can become integers, in the graph's order; nodes that are `kept` cannot."""
    integers = {node.name for node in model.graph.node if node.op_type in operators(model)} - set(kept)
    weights = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    names = {layer.node: layer.name for layer in layers(model)}
    readers = Counter(name for node in model.graph.node for name in node.input)
    head, layer, members = dict[str, str](), dict[str, str](), defaultdict[str, list[onnx.NodeProto]](list)
    for node in model.graph.node:
        before = next((name for name in node.input if name in layer), "")
        own = names.get(node.name) or layer.get(before, "")
        # Only where nobody else reads what comes before it: else it is an operator of its own in int8, too.
        follows = node.op_type in FOLLOWING and before in head and readers[before] == 1
        if node.name in integers:
            first = head[before] if follows else node.name
            members[first].append(node)
            head.update(dict.fromkeys(node.output, first))
        layer.update(dict.fromkeys(node.output, own))
    return tuple(
        Unit(
            name=first,
            nodes=tuple(node.name for node in nodes),
            tensors=tuple(name for node in nodes for name in node.output),
            kind=_kind(nodes[0], weights),
            layer=layer[nodes[0].output[0]],
        )
        for first, nodes in members.items()
    )


def divided(found: Sequence[Unit], assignment: Assignment) -> Division:
    """Return by units what a recipe has by nodes. Raises StepError for a node that there is not."""
    known = {node: unit.name for unit in found for node in unit.nodes}
    if ALL in assignment.fp32:
        return Division(operators=assignment.operators, fp32=frozenset(known.values()))
    for name in assignment.fp32:
        if name not in known:
            advice = nearest(name, known) or "leave [optimise.found] out, and it is searched for anew"
            raise StepError(f"{name!r} names no node that can be in int8", where="optimise.found", advice=advice)
    return Division(operators=assignment.operators, fp32=frozenset(known[name] for name in assignment.fp32))


def products(found: Iterable[Unit]) -> frozenset[str]:
    """Return the names of the units where nearly all of the arithmetic is."""
    return frozenset(unit.name for unit in found if unit.kind.split()[-1] in PRODUCTS)


def kinds(found: Iterable[Unit]) -> dict[str, frozenset[str]]:
    """Return the names of the units of each kind."""
    return _grouped((unit.kind, unit.name) for unit in found)


def blocks(found: Sequence[Unit]) -> dict[str, frozenset[str]]:
    """Return the names of the units in each part of the network, by the beginnings of its layers' names."""
    deepest = max((unit.layer.count(".") for unit in found), default=0)
    parts = dict[str, frozenset[str]]()
    for depth in range(1, deepest + 2):
        parts = _grouped((".".join(unit.layer.split(".")[:depth]), unit.name) for unit in found if unit.layer)
        if len(parts) >= FEWEST_BLOCKS:
            break
    return parts


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    groups = defaultdict[str, set[str]](set)
    for group, name in pairs:
        groups[group].add(name)
    return {group: frozenset(names) for group, names in groups.items()}


def _kind(node: onnx.NodeProto, weights: Mapping[str, tuple[int, ...]]) -> str:
    """Return the type, and of convolutions what their time depends on: kernels differ by it."""
    shape = weights.get(node.input[1], ()) if node.op_type == "Conv" and len(node.input) > 1 else ()
    if len(shape) < 3:
        return str(node.op_type)
    groups = next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)
    if groups > 1:
        return "depthwise Conv" if shape[1] == 1 else "grouped Conv"
    return "pointwise Conv" if set(shape[2:]) == {1} else "Conv"
