"""Which operators of an ONNX file become integers where only those shall that are faster so.

Every operator costs a time in fp32 and another in integers, and every tensor between the two is converted. Which
choice costs least in all is the minimum cut of the graph: Greig, Porteous and Seheult 1989, "Exact Maximum A Posteriori
Estimation for Binary Images". The costs are a rule, the same on every machine: medians of ONNX Runtime 1.31.1's own
profiles of MobileNetV3, MNASNet, ShuffleNetV2, RegNet, DenseNet and GoogLeNet at 3 x 224 x 224, one thread, on an
x86-64 machine with AVX-512 VNNI.
"""

import math
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import networkx as nx
import onnx
from onnx import helper

from packager.quantize.onnx_operators import operators
from runner.errors import StepError

QUANTIZE_NS, DEQUANTIZE_NS, CONVERT_NS = 0.8, 0.5, 6000.0
"""By element, the change of layout that comes along included, and by tensor."""
FEW_PRODUCTS = 64
"""For one element: of so few, as in a first layer, an integer convolution is mostly the gathering of its inputs."""
FOLDED = ("Relu", "Clip")
"""What becomes part of the operator before it, in integers or in fp32."""
POOLED = "MaxPool"
"""Goes with what is before and after it: ONNX Runtime moves a conversion across it, and is then 80 times as slow."""
NO_KERNEL = ("BatchNormalization", "HardSigmoid")
"""What ONNX Runtime computes in fp32 between two conversions."""
FREE = float("inf")
BY_ELEMENT: Mapping[str, tuple[float, float]] = {
    "Add": (0.1, 0.28),
    "Mul": (0.42, 0.39),
    "Concat": (0.46, 0.46),
    "MaxPool": (1.3, 0.71),
    "AveragePool": (1.2, 9.6),
    "GlobalAveragePool": (0.5, 0.5),
    "Reshape": (0.1, 0.1),
    "Transpose": (0.21, 0.15),
    "Split": (0.2, 0.18),
    "Sigmoid": (1.0, 0.3),
}
"""Nanoseconds in fp32 and in integers for each element that is returned."""
OTHERS = (0.4, 0.4)


@dataclass(frozen=True, kw_only=True, slots=True)
class Costs:
    """What an operator takes, in nanoseconds."""

    fp32: float
    integers: float


def integers_where_they_pay(model: onnx.ModelProto, kept: Collection[str]) -> list[str]:
    """Return the names of the nodes of a prepared model that are faster in integers; `kept` stay in fp32.

    Raises StepError where none is.
    """
    graph = nx.DiGraph()
    _add_operators(graph, model, kept)
    _add_conversions(graph, model)
    _, (integers, _) = nx.minimum_cut(graph, "integers", "fp32")
    found = [node.name for node in model.graph.node if ("node", node.name) in integers]
    if not found:
        raise StepError("no layer of the network is faster in int8 by what is known", advice="int8.onnx or fp32.onnx")
    return found


def _add_operators(graph: "nx.DiGraph[object]", model: onnx.ModelProto, kept: Collection[str]) -> None:
    """Join each node with both ends: who is cut off from one pays what it takes on the other side."""
    shapes, able = _shapes(model), set(operators(model))
    producers = _producers(model)
    for node in model.graph.node:
        name, costs = ("node", node.name), _costs(node, shapes)
        stays = node.op_type not in able or node.op_type in NO_KERNEL or node.name in kept or not node.name
        graph.add_edge("integers", name, capacity=0.0 if stays else costs.fp32)
        graph.add_edge(name, "fp32", capacity=FREE if stays else costs.integers)
        before = [producers[each] for each in node.input[:1] if each in producers]
        after = [each.name for each in model.graph.node if node.output[0] in each.input]
        tied = before if node.op_type in FOLDED else [*before, *after] if node.op_type == POOLED else []
        for other in tied:
            graph.add_edge(name, ("node", other), capacity=FREE)
            graph.add_edge(("node", other), name, capacity=FREE)


def _add_conversions(graph: "nx.DiGraph[object]", model: onnx.ModelProto) -> None:
    """Let each tensor be paid for once where one side makes it and any reader is on the other."""
    shapes, producers, readers = _shapes(model), _producers(model), defaultdict[str, list[object]](list)
    constants = {constant.name for constant in model.graph.initializer}
    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            if name in shapes and name not in constants:
                readers[name].append(("node", node.name))
    for value in model.graph.output:
        readers[value.name].append("fp32")
    for name, users in readers.items():
        source = ("node", producers[name]) if name in producers else "fp32"
        elements = math.prod(shapes.get(name, ()))
        graph.add_edge(source, ("floats of", name), capacity=CONVERT_NS + DEQUANTIZE_NS * elements)
        graph.add_edge(("integers of", name), source, capacity=CONVERT_NS + QUANTIZE_NS * elements)
        for user in users:
            graph.add_edge(("floats of", name), user, capacity=FREE)
            graph.add_edge(user, ("integers of", name), capacity=FREE)


def _costs(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> Costs:
    elements = sum(math.prod(shapes.get(name, ())) for name in node.output)
    weight = shapes.get(node.input[1], ()) if len(node.input) > 1 else ()
    if node.op_type == "Conv" and weight:
        fp32, integers = _of_a_product(node, weight, shapes[node.output[0]])
        products = elements * math.prod(weight[1:])
        return Costs(fp32=fp32 * products, integers=integers * products)
    if node.op_type in ("Gemm", "MatMul") and weight:
        products = math.prod(weight) * (elements // max(1, weight[-1]) or 1)
        return Costs(fp32=0.33 * products, integers=0.12 * products)
    fp32, integers = BY_ELEMENT.get(node.op_type, OTHERS)
    return Costs(fp32=fp32 * elements, integers=integers * elements)


def _of_a_product(node: onnx.NodeProto, weight: tuple[int, ...], made: tuple[int, ...]) -> tuple[float, float]:
    """Return the nanoseconds of one multiplication in a convolution, in fp32 and in integers."""
    groups = next((helper.get_attribute_value(each) for each in node.attribute if each.name == "group"), 1)
    if math.prod(made[2:]) == 1:  # of squeeze-and-excite: the weights are read once, whatever is computed
        return 0.8, 0.75
    if groups == made[1]:
        return 0.045, 0.085
    if groups > 1:
        return 0.1, 0.078
    return (0.032, 0.075) if math.prod(weight[1:]) < FEW_PRODUCTS and weight[2] > 1 else (0.016, 0.0055)


def _producers(model: onnx.ModelProto) -> Mapping[str, str]:
    return {output: node.name for node in model.graph.node for output in node.output}


def _shapes(model: onnx.ModelProto) -> Mapping[str, tuple[int, ...]]:
    """Return the shapes of floats by their names, of one sample."""
    return dict(_each_shape(model.graph))


def _each_shape(graph: onnx.GraphProto) -> Iterator[tuple[str, tuple[int, ...]]]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            yield value.name, tuple(each.dim_value or 1 for each in value.type.tensor_type.shape.dim)
    for constant in graph.initializer:
        if constant.data_type == onnx.TensorProto.FLOAT:
            yield constant.name, tuple(constant.dims)
