"""QDQ files of PyTorch's exporter, evened out for integer kernels: without this a runtime computes parts in fp32.

The exporter leaves biases in fp32, keeps a ReLU where rounding cuts off what is negative anyway, and writes an average
over an image as a mean, for which there is no such kernel.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from packager.export.onnx import stripped
from packager.quantize.onnx_own_weights import give_own_weights

CHANNEL_OF: Mapping[str, Callable[[onnx.NodeProto], int]] = {
    "Conv": lambda _: 0,
    "Gemm": lambda node: 0 if _attribute(node, "transB", 0) else 1,
}
"""Operators with an integer bias, and which dimension of the weight is the output channel."""
BIAS = 2
ROUNDING = 1e-6
"""Of float32, relative."""
PIXELS = frozenset({2, 3})
"""Dimensions of N x C x H x W."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Graph:
    """A graph, and what is looked up in it."""

    graph: onnx.GraphProto
    constants: Mapping[str, onnx.TensorProto]
    producers: Mapping[str, onnx.NodeProto]
    readers: Mapping[str, Sequence[onnx.NodeProto]]
    ranks: Mapping[str, int]


def for_integer_kernels(content: bytes) -> bytes:
    """Return the file with int32 biases, without needless ReLUs, pools in the place of means.

    It answers the same but for the rounding of biases.
    """
    model = onnx.load_model_from_string(content)
    graph = _looked_up(model)
    for node in list(model.graph.node):
        if node.op_type in CHANNEL_OF and len(node.input) > BIAS:
            _make_integer(node, graph)
        if node.op_type == "ReduceMean" and _is_over_pixels(node, graph):
            node.op_type = "GlobalAveragePool"
            del node.input[1:]
            del node.attribute[:]
        if node.op_type in ("Relu", "Clip") and _is_cut_off_anyway(node, graph):
            for reader in graph.readers[node.output[0]]:
                reader.input[0] = node.input[0]
            model.graph.node.remove(node)
    give_own_weights(model.graph)
    _tidy(model.graph)
    return stripped(model)


def _looked_up(model: onnx.ModelProto) -> Graph:
    inferred = onnx.shape_inference.infer_shapes(model).graph
    readers = defaultdict[str, list[onnx.NodeProto]](list)
    for node in model.graph.node:
        for name in node.input:
            readers[name].append(node)
    return Graph(
        graph=model.graph,
        constants={tensor.name: tensor for tensor in model.graph.initializer},
        producers={name: node for node in model.graph.node for name in node.output},
        readers=readers,
        ranks={
            value.name: len(value.type.tensor_type.shape.dim)
            for value in (*inferred.value_info, *inferred.input)
            if value.type.tensor_type.HasField("shape")
        },
    )


def _make_integer(layer: onnx.NodeProto, graph: Graph) -> None:
    """Write a layer's bias in steps of its input's scale times its weight's, in which integer kernels add up.

    A layer with anything in fp32, and a bias that int32 cannot hold, stay as they are.
    """
    scale, bias = _step(layer, graph), _constant(layer.input[BIAS], graph)
    if scale is None or bias is None or bias.dtype != np.float32 or _attribute(layer, "beta", 1.0) != 1.0:
        return
    scale = np.broadcast_to(scale, bias.shape).astype(np.float32)
    steps = np.rint(bias.astype(np.float64) / scale)
    if not (np.abs(steps) <= np.iinfo(np.int32).max).all():
        return
    name = f"{layer.input[BIAS]}_of_{layer.output[0]}"
    parts = {f"{name}_quantized": steps.astype(np.int32), f"{name}_scale": scale}
    graph.graph.initializer.extend(numpy_helper.from_array(array, part) for part, array in parts.items())
    axis = {"axis": 0} if scale.ndim else {}
    graph.graph.node.insert(0, helper.make_node("DequantizeLinear", list(parts), [name], f"{name}_dequantize", **axis))
    layer.input[BIAS] = name


def _step(layer: onnx.NodeProto, graph: Graph) -> Floats | None:
    """Return the scale of a layer's products: one, or one per output channel; None where it is not all integers."""
    activation, weight = (graph.producers.get(name) for name in layer.input[:BIAS])
    if activation is None or weight is None or {activation.op_type, weight.op_type} != {"DequantizeLinear"}:
        return None
    scales = [_constant(node.input[1], graph) for node in (activation, weight)]
    if scales[0] is None or scales[1] is None or scales[0].size != 1 or weight.input[0] not in graph.constants:
        return None
    channel, axis = CHANNEL_OF[layer.op_type](layer), _attribute(weight, "axis", 1)
    if scales[1].size != 1 and axis != channel:
        return None
    return np.float32(scales[0].reshape(())) * scales[1].squeeze().astype(np.float32)


def _is_over_pixels(mean: onnx.NodeProto, graph: Graph) -> bool:
    axes = _constant(mean.input[1], graph) if len(mean.input) > 1 else None
    producer = graph.producers.get(mean.input[0])
    return (
        axes is not None
        and producer is not None
        and producer.op_type == "DequantizeLinear"
        and graph.ranks.get(mean.input[0]) == 4
        and {int(axis) % 4 for axis in axes} == PIXELS
        and _attribute(mean, "keepdims", 1) == 1
    )


def _is_cut_off_anyway(node: onnx.NodeProto, graph: Graph) -> bool:
    """Say whether a ReLU or ReLU6 leaves alone all that the rounding behind it can stand for."""
    bounds = [_constant(name, graph) for name in node.input[1:]] if node.op_type == "Clip" else [np.zeros(())]
    is_answer = node.output[0] in {value.name for value in graph.graph.output}
    if any(bound is None for bound in bounds) or not graph.readers[node.output[0]] or is_answer:
        return False
    lowest, highest, *_ = (*(float(bound) for bound in bounds if bound is not None), np.inf, np.inf)
    for reader in graph.readers[node.output[0]]:
        scale, zero_point = (_constant(name, graph) for name in (*reader.input[1:3], "", "")[:2])
        if reader.op_type != "QuantizeLinear" or scale is None or zero_point is None or scale.size != 1:
            return False
        ends = np.iinfo(np.dtype(zero_point.dtype).name)
        low, high = ((end - int(zero_point)) * float(scale) for end in (ends.min, ends.max))
        if low < lowest or high > highest * (1 + ROUNDING):
            return False
    return True


def _constant(name: str, graph: Graph) -> NDArray[np.generic] | None:
    return numpy_helper.to_array(graph.constants[name]) if name in graph.constants else None


def _attribute(node: onnx.NodeProto, name: str, default: float) -> float:
    found = [helper.get_attribute_value(each) for each in node.attribute if each.name == name]
    return float(found[0]) if found else default


def _tidy(graph: onnx.GraphProto) -> None:
    """Take out constants that nothing uses, and the shapes in between, which a runtime infers."""
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]
