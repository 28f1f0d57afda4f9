"""Integer ONNX files without what a runtime can do without, which is a seventh of the file of a small network.

Quantizers name each tensor after three others, and write zero points that are zero, attributes that are the
operator's defaults and scales that are the product of two others.
"""

import itertools
import string
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper

DEQUANTIZE, QUANTIZE = "DequantizeLinear", "QuantizeLinear"
SCALE, ZERO_POINT, BIAS = 1, 2, 2
"""Which input it is."""
ONES, ZEROS = frozenset({"dilations", "strides"}), frozenset({"pads"})
"""Attributes of layers whose default ONNX gives in words: one, or zero, for each dimension."""
LETTERS = string.ascii_lowercase + string.ascii_uppercase


def compact(content: bytes) -> bytes:
    """Return a file that computes the same, bit for bit, in fewer bytes.

    The names of inputs, outputs and layers stay. A model with functions or with graphs in its nodes stays as it is.
    """
    model = onnx.load_model_from_string(content)
    graph = model.graph
    if model.functions or any(each.HasField("g") or each.graphs for node in graph.node for each in node.attribute):
        return content
    del graph.value_info[:]
    _leave_out_operator_sets(model)
    for node in graph.node:
        _leave_out_defaults(node, model)
    constants = {constant.name: constant for constant in graph.initializer}
    _multiply_scales(graph, constants)
    for node in graph.node:
        _leave_out_zero_point(node, constants)
    _share_scalars(graph, constants)
    _shorten_names(graph)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _leave_out_operator_sets(model: onnx.ModelProto) -> None:
    domains = {_domain(node.domain) for node in model.graph.node}
    used = [each for each in model.opset_import if _domain(each.domain) in domains]
    model.ClearField("opset_import")
    model.opset_import.extend(used)


def _leave_out_defaults(node: onnx.NodeProto, model: onnx.ModelProto) -> None:
    """Leave out what an operator takes for granted, and the size of a kernel, which its weight has too."""
    if not defs.has(node.op_type, _domain(node.domain)):
        return
    version = next(each.version for each in model.opset_import if _domain(each.domain) == _domain(node.domain))
    schema = defs.get_schema(node.op_type, version, _domain(node.domain))
    told = []
    for attribute in node.attribute:
        value, default = helper.get_attribute_value(attribute), schema.attributes[attribute.name].default_value
        if node.op_type == "Conv" and (
            attribute.name == "kernel_shape"
            or (attribute.name in ONES and set(value) == {1})
            or (attribute.name in ZEROS and set(value) == {0})
        ):
            continue
        if not default.name or helper.get_attribute_value(default) != value:
            told.append(attribute)
    node.ClearField("attribute")
    node.attribute.extend(told)


def _domain(name: str) -> str:
    """Return the domain of operators; that of ONNX itself has two names."""
    return "" if name == "ai.onnx" else name


def _multiply_scales(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    """Let the runtime multiply where the scales of a bias are those of the layer's input times its weight's.

    Any runtime folds constants when it loads a file, and kernels have that product from the two anyway.
    """
    producers = {name: node for node in graph.node for name in node.output}
    for layer in [node for node in graph.node if node.op_type in ("Conv", "Gemm")]:
        rounded = [producers[name] for name in layer.input if name in producers]
        names = [node.input[SCALE] for node in rounded if node.op_type == DEQUANTIZE]
        scales = [constants[name] for name in names if name in constants]
        if len(scales) <= BIAS or not scales[BIAS].dims:
            continue
        one, many, product = map(numpy_helper.to_array, scales)
        if np.array_equal(one * many, product):
            name = f"{scales[BIAS].name} of {layer.name}"
            graph.node.insert(0, helper.make_node("Mul", names[:BIAS], [name]))
            rounded[BIAS].input[SCALE] = name


def _leave_out_zero_point(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    """Leave out the zero point of a bias. Those of weights stay: ONNX Runtime's exact int8 on x86 changes them."""
    if node.op_type == DEQUANTIZE and len(node.input) > ZERO_POINT:
        zero_point = constants.get(node.input[ZERO_POINT])
        is_of_bias = zero_point is not None and zero_point.data_type == onnx.TensorProto.INT32
        if is_of_bias and not numpy_helper.to_array(zero_point).any():
            del node.input[ZERO_POINT]


def _share_scalars(graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    """Store each scale and zero point of activations once.

    Not those of weights: see `packager.quantize.onnx_own_weights`.
    """
    own = {
        name for node in graph.node if node.op_type == DEQUANTIZE and node.input[0] in constants for name in node.input
    }
    first: dict[tuple[int, bytes], str] = {}
    shared: dict[str, str] = {}
    for name, constant in constants.items():
        if not constant.dims and name not in own:
            array = numpy_helper.to_array(constant)
            shared[name] = first.setdefault((constant.data_type, array.tobytes()), name)
    for node in graph.node:
        if node.op_type in (DEQUANTIZE, QUANTIZE):
            node.input[:] = [shared.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
    kept = [constant for constant in graph.initializer if constant.name in used]
    graph.ClearField("initializer")
    graph.initializer.extend(kept)


def _shorten_names(graph: onnx.GraphProto) -> None:
    """Give short names to tensors, the shortest to the most used, and none to the nodes that round."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    uses = Counter(name for node in graph.node for name in (*node.input, *node.output) if name and name not in fixed)
    free = (name for name in _names() if name not in fixed)
    short = {name: next(free) for name, _ in uses.most_common()}
    for node in graph.node:
        node.input[:] = [short.get(name, name) for name in node.input]
        node.output[:] = [short.get(name, name) for name in node.output]
        if node.op_type in (DEQUANTIZE, QUANTIZE):
            node.ClearField("name")
    for constant in graph.initializer:
        constant.name = short.get(constant.name, constant.name)


def _names() -> Iterator[str]:
    """Yield a, b and so on to Z, then aa, ab and so on."""
    return ("".join(each) for length in itertools.count(1) for each in itertools.product(LETTERS, repeat=length))
