"""What is changed in a LiteRT file after the converter has written it, so that it computes the same and faster."""

from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

CODES = schema.BuiltinOperator
RELUS = frozenset({schema.ActivationFunctionType.RELU, schema.ActivationFunctionType.RELU6})
NEVER_NEGATIVE = frozenset({CODES.RELU, CODES.RELU6, CODES.LOGISTIC})
PASS_ON = frozenset(
    {
        CODES.AVERAGE_POOL_2D,
        CODES.CONCATENATION,
        CODES.MAX_POOL_2D,
        CODES.MEAN,
        CODES.PAD,
        CODES.RESHAPE,
        CODES.SLICE,
        CODES.TRANSPOSE,
    }
)
"""Operators that make no negative number of numbers that are none."""
Number = TypeVar("Number", np.int32, np.float32)
ANY = -1
"""Stands in a RESHAPE for whatever size is left."""


class Graph:
    """A `.tflite` file that can be changed."""

    def __init__(self, content: bytes) -> None:
        self.model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
        self.graph = self.model.subgraphs[0]

    def bytes(self) -> bytes:
        """Return the file."""
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))

    def code(self, operator: schema.OperatorT) -> int:
        """Return which operator it is, of schema.BuiltinOperator."""
        return int(self.model.operatorCodes[operator.opcodeIndex].builtinCode)

    def operators(self, code: int) -> Iterator[schema.OperatorT]:
        """Yield the operators of a kind."""
        return (each for each in self.graph.operators if self.code(each) == code)

    def tensor_name(self, index: int) -> str:
        """Return a tensor's name."""
        name = self.graph.tensors[index].name
        return name.decode() if name else ""

    def is_constant(self, index: int) -> bool:
        """Say whether the file holds a tensor's values."""
        data = self.model.buffers[self.graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def constant(self, index: int, dtype: type[Number]) -> NDArray[Number]:
        """Return a tensor's values, flat, as the file holds them."""
        return np.frombuffer(bytes(self.model.buffers[self.graph.tensors[index].buffer].data), dtype)

    def set_constant(self, index: int, values: NDArray[np.generic]) -> None:
        """Give a tensor values of its own, which no other has."""
        self.model.buffers.append(schema.BufferT())
        self.model.buffers[-1].data = np.frombuffer(values.tobytes(), np.uint8)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1

    def code_index(self, code: int) -> int:
        """Return the place of a kind of operator among those that the file uses; it is added where it is none."""
        codes = self.model.operatorCodes
        found = next((number for number, each in enumerate(codes) if each.builtinCode == code), None)
        if found is not None:
            return found
        added = schema.OperatorCodeT()
        added.builtinCode = added.deprecatedBuiltinCode = code
        added.version = 1
        codes.append(added)
        return len(codes) - 1


def improved(content: bytes) -> bytes:
    """Return the file with pools that XNNPACK takes, and with the batch free where the network leaves it so."""
    graph = Graph(content)
    _pad_pools_with_zero(graph)
    _free_batch(graph)
    return graph.bytes()


def without_names(content: bytes) -> bytes:
    """Return the file without the names of its tensors, which are a tenth of that of a small network."""
    graph = Graph(content)
    for tensor in graph.graph.tensors:
        tensor.name = None
    return graph.bytes()


def _pad_pools_with_zero(graph: Graph) -> None:
    """Pad before a maximum with zeros instead of minus infinity where nothing that is padded is negative.

    The largest is the same. XNNPACK takes no other padding than zeros, and infinity has no integer.
    """
    makers = {index: each for each in graph.graph.operators for index in each.outputs}
    readers = [(index, graph.code(each)) for each in graph.graph.operators for index in each.inputs]
    for pad in graph.operators(CODES.PADV2):
        used_by = {code for index, code in readers if index == pad.outputs[0]}
        if used_by == {CODES.MAX_POOL_2D} and _is_never_negative(graph, pad.inputs[0], makers):
            pad.opcodeIndex = graph.code_index(CODES.PAD)
            pad.inputs = pad.inputs[:2]
            pad.builtinOptionsType, pad.builtinOptions = schema.BuiltinOptions.PadOptions, schema.PadOptionsT()


def _is_never_negative(graph: Graph, tensor: int, makers: Mapping[int, schema.OperatorT]) -> bool:
    if tensor not in makers:
        return False
    maker = makers[tensor]
    code = graph.code(maker)
    if code in NEVER_NEGATIVE or getattr(maker.builtinOptions, "fusedActivationFunction", None) in RELUS:
        return True
    computed = [each for each in maker.inputs if each >= 0 and not graph.is_constant(each)]
    return code in PASS_ON and all(_is_never_negative(graph, each, makers) for each in computed)


def _free_batch(graph: Graph) -> None:
    """Let each RESHAPE that says "one sample" take as many as there are."""
    for reshape in graph.operators(CODES.RESHAPE):
        source = graph.graph.tensors[reshape.inputs[0]].shape
        shape = graph.constant(reshape.inputs[1], np.int32).copy() if len(reshape.inputs) > 1 else np.array([])
        if len(shape) and len(source) and source[0] == shape[0] == 1 and ANY not in shape:
            shape[0] = ANY
            graph.set_constant(reshape.inputs[1], shape)
            if reshape.builtinOptions is not None and hasattr(reshape.builtinOptions, "newShape"):
                reshape.builtinOptions.newShape = shape
