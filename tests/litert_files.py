"""Writes the network of tests/networks.py as a LiteRT file, one table at a time: no converter is needed for it."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from tests import networks

CODES = schema.BuiltinOperator
FILTERS, SIZE, CLASSES = 8, networks.SIZE, networks.CLASSES
TYPES = {"float32": schema.TensorType.FLOAT32, "int32": schema.TensorType.INT32, "int8": schema.TensorType.INT8}
Array = NDArray[np.float32] | NDArray[np.int32]


class Writer:
    """A file that grows by tensors and operators."""

    def __init__(self, opset: int = 1, schema_version: int = 3) -> None:
        self.model, self.graph, self.opset = schema.ModelT(), schema.SubGraphT(), opset
        self.model.version = schema_version
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.model.subgraphs = [self.graph]
        self.graph.tensors, self.graph.operators = [], []

    def tensor(self, name: str, shape: tuple[int, ...], dtype: str = "float32") -> int:
        """Add a tensor, and return its place."""
        added = schema.TensorT()
        added.name, added.shape, added.type = name.encode(), list(shape), TYPES[dtype]
        self.graph.tensors.append(added)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: Array) -> int:
        """Add a tensor that is known."""
        index = self.tensor(name, values.shape, str(values.dtype))
        self.model.buffers.append(schema.BufferT())
        self.model.buffers[-1].data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.graph.tensors[index].buffer = len(self.model.buffers) - 1
        return index

    def operator(self, code: int, inputs: list[int], output: int, options: object = None) -> int:
        """Add an operator, and return its output."""
        kind, added = schema.OperatorCodeT(), schema.OperatorT()
        kind.builtinCode = kind.deprecatedBuiltinCode = code
        kind.version = self.opset
        self.model.operatorCodes.append(kind)
        added.opcodeIndex, added.inputs, added.outputs = len(self.model.operatorCodes) - 1, inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            added.builtinOptionsType, added.builtinOptions = getattr(schema.BuiltinOptions, name), options
        self.graph.operators.append(added)
        return output

    def bytes(self, taken: int, given: int) -> bytes:
        """Return the file from its input to its output."""
        self.graph.inputs, self.graph.outputs = [taken], [given]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = [_named("args_0", taken)], [_named("output_0", given)]
        self.model.signatureDefs = [signature]
        return bytes(flatbuffer_utils.convert_object_to_bytearray(self.model))


def _named(name: str, tensor: int) -> schema.TensorMapT:
    mapped = schema.TensorMapT()
    mapped.name, mapped.tensorIndex = name.encode(), tensor
    return mapped


def write_litert(path: Path, *, opset: int = 1, schema_version: int = 3) -> Path:
    """Write the network as a LiteRT file that takes N x C x H x W."""
    values, file = networks.weights(), Writer(opset, schema_version)
    taken = file.tensor("input", (1, networks.CHANNELS, SIZE, SIZE))
    last = file.constant("channels last", np.array([0, 2, 3, 1], np.int32))
    first = file.constant("channels first", np.array([0, 3, 1, 2], np.int32))
    kernel = file.constant("kernel", values["kernel"].transpose(0, 2, 3, 1))
    zeros = file.constant("zeros", np.zeros(FILTERS, np.float32))
    image = file.operator(CODES.TRANSPOSE, [taken, last], file.tensor("image", (1, SIZE, SIZE, 1)))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = convolution.dilationHFactor = convolution.dilationWFactor = 1
    convolution.fusedActivationFunction = schema.ActivationFunctionType.RELU
    convolution.padding = schema.Padding.SAME
    seen = file.tensor("features", (1, SIZE, SIZE, FILTERS))
    file.operator(CODES.CONV_2D, [image, kernel, zeros], seen, convolution)
    turned = file.operator(CODES.TRANSPOSE, [seen, first], file.tensor("turned", (1, FILTERS, SIZE, SIZE)))
    shape = file.constant("shape", np.array([-1, FILTERS * SIZE * SIZE], np.int32))
    flat = file.operator(CODES.RESHAPE, [turned, shape], file.tensor("flat", (1, FILTERS * SIZE * SIZE)))
    matrix, bias = file.constant("matrix", values["matrix"].T), file.constant("bias", values["bias"])
    given = file.tensor("logits", (1, CLASSES))
    file.operator(CODES.FULLY_CONNECTED, [flat, matrix, bias], given, schema.FullyConnectedOptionsT())
    path.write_bytes(file.bytes(taken, given))
    return path


def write_integers(path: Path) -> Path:
    """Write a file that takes and gives int8."""
    file = Writer()
    taken, given = (file.tensor(name, (1, 4), "int8") for name in ("input", "logits"))
    path.write_bytes(file.bytes(taken, file.operator(CODES.RELU, [taken], given)))
    return path
