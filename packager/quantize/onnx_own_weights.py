"""Integer weights that no two layers share, as ONNX Runtime's exact int8 on x86 wants them.

It makes signed weights unsigned, one after another under their own names, and cannot where it meets the same weight or
zero point twice (1.31): "Attempt to replace the existing tensor". Layers share a weight where the network does, and
where exporters or ONNX Runtime find two constants equal, such as the ones of a normalization that was never trained.
"""

from collections import defaultdict
from collections.abc import Mapping

import onnx

WEIGHT, ZERO_POINT = 0, 2
"""Which input of a DequantizeLinear it is."""


def give_own_weights(graph: onnx.GraphProto) -> None:
    """Give each reader of a signed weight a weight and a zero point of its own, in place; scales stay shared."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    readers = defaultdict[str, list[tuple[onnx.NodeProto, int]]](list)
    for node in graph.node:
        for index, name in enumerate(node.input):
            readers[name].append((node, index))
    taken = set[str]()
    for weight in [node for node in graph.node if _is_signed_weight(node, constants)]:
        _take_own_constants(weight, graph, constants, taken)
        for number, (node, index) in enumerate(readers[weight.output[0]][1:], start=1):
            own = onnx.NodeProto()
            own.CopyFrom(weight)
            own.name, own.output[0] = (f"{name}_{number}" for name in (weight.name, weight.output[0]))
            _take_own_constants(own, graph, constants, taken)
            node.input[index] = own.output[0]
            graph.node.insert(0, own)


def _is_signed_weight(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> bool:
    constant = constants.get(node.input[WEIGHT]) if node.op_type == "DequantizeLinear" else None
    return constant is not None and constant.data_type == onnx.TensorProto.INT8


def _take_own_constants(
    weight: onnx.NodeProto, graph: onnx.GraphProto, constants: Mapping[str, onnx.TensorProto], taken: set[str]
) -> None:
    """Give a weight copies of those of its constants that another has taken, and take the rest."""
    for index, name in enumerate(weight.input):
        if index in (WEIGHT, ZERO_POINT) and name in taken:
            copied = graph.initializer.add()
            copied.CopyFrom(constants[name])
            copied.name = f"{weight.output[0]}_{'integers' if index == WEIGHT else 'zero_point'}"
            weight.input[index] = copied.name
        taken.add(name)
