"""ONNX files with integer weights and float activations: a smaller file, and nothing that needs calibration.

In eight bits each output channel of a weight has a scale; in four, each 32 weights that are multiplied and summed up
one after the other have, where their number divides by it. For linear layers ONNX Runtime has kernels of its own, which
round activations to eight bits as they come; convolutions get their weights back in float, at each run.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, version_converter

from packager.export.onnx import stripped
from packager.quantize import Order
from packager.quantize.onnx_graph import CANNOT, WAY_OUT, kept, layers, prepared
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError

BLOCK = 32
"""Weights that share a scale, in four bits; a power of two from 16 on, as ONNX Runtime's kernels have it."""
OPSETS: Mapping[int, int] = {8: 13, 4: 21}
"""From which on a scale may be of one channel, and from which on there are four bits, and blocks."""
SHRINKAGES = (1.0, 0.95, 0.9, 0.875, 0.85, 0.8, 0.75)
"""Of a scale in four bits: at times it is better to clip the largest weight than to round all others coarsely."""

ZERO = "zero_of_relu"

Floats = NDArray[np.float32]
Integers = NDArray[np.int8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """What the axes of a weight are for."""

    outputs: int
    summed: int
    """Along which products are summed up."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Quantized:
    """A weight in integers."""

    values: Integers
    """Of the weight's shape, whatever the bits."""
    scales: Floats
    """One per index along `axis`, or one per block of it and index along the others."""
    axis: int
    block: int | None = None


def quantize(content: bytes, order: Order, bits: int) -> bytes:
    """Return the file with weights of so many bits, 8 or 4. Raises StepError where there is none to quantize."""
    model = prepared(_converted(content, OPSETS[bits]))
    chosen = _chosen(model, order)
    if not chosen:
        raise StepError("the network has no weights to quantize", advice="leave this artifact out")
    # Shapes that were inferred are those of weights that were not turned.
    del model.graph.value_info[:]
    for constant in list(model.graph.initializer):
        if constant.name in chosen:
            weights, axes = numpy_helper.to_array(constant), chosen[constant.name]
            if _turned(model, constant.name):
                weights, axes = weights.T, Axes(outputs=axes.summed, summed=axes.outputs)
            _replace(model, constant, quantized(weights, axes, bits), bits)
    return stripped(model)


def quantized(weights: Floats, axes: Axes, bits: int) -> Quantized:
    """Return symmetric integers, by the scales that err least by the square."""
    if bits == 4 and weights.shape[axes.summed] % BLOCK == 0:
        axis, block = axes.summed, BLOCK
        before, after = weights.shape[:axis], weights.shape[axis + 1 :]
        grouped = weights.reshape(*before, -1, block, *after)
        shared: tuple[int, ...] = (axis + 1,)
        shape = (*before, weights.shape[axis] // block, *after)
        values, scales = _rounded(grouped, shared, bits)
        return Quantized(values=values.reshape(weights.shape), scales=scales.reshape(shape), axis=axis, block=block)
    shared = tuple(axis for axis in range(weights.ndim) if axis != axes.outputs)
    values, scales = _rounded(weights, shared, bits)
    return Quantized(values=values, scales=scales.reshape(-1), axis=axes.outputs)


def _rounded(weights: Floats, shared: tuple[int, ...], bits: int) -> tuple[Integers, Floats]:
    """Return integers and scales, of which the weights along the axes `shared` have one."""
    top = 2 ** (bits - 1) - 1
    largest = np.abs(weights).max(shared, keepdims=True)
    largest[largest == 0] = 1
    best = largest / top
    least = np.full(largest.shape, np.inf, np.float32)
    for shrinkage in SHRINKAGES if bits == 4 else (1.0,):
        scale = np.asarray(largest * shrinkage / top, np.float32)
        error = np.square(_levels(weights, scale, top) * scale - weights).sum(shared, keepdims=True)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return _levels(weights, best, top).astype(np.int8), best


def _levels(weights: Floats, scale: Floats, top: int) -> Floats:
    return np.asarray(np.clip(np.rint(weights / scale), -top - 1, top), np.float32)


def _chosen(model: onnx.ModelProto, order: Order) -> Mapping[str, Axes]:
    """Return the weights that are to be quantized, and none that a layer which stays in fp32 has as well."""
    found = layers(model)
    excluded = {layer.weight for layer in kept(found, order.plan.keep_fp32)}
    ranks = {constant.name: len(constant.dims) for constant in model.graph.initializer}
    nodes = {node.name: node for node in model.graph.node}
    axes = {layer.weight: _axes(nodes[layer.node], layer.weight, ranks[layer.weight]) for layer in found}
    return {weight: its for weight, its in axes.items() if its is not None and weight not in excluded}


def _converted(content: bytes, opset: int) -> bytes:
    """Return the file in this version of the operators, or in a later one that it has."""
    model = onnx.load_from_string(content)
    versions = [each.version for each in model.opset_import if each.domain in ("", "ai.onnx")]
    if versions and max(versions) >= opset:
        return content
    with quiet(), refused(CANNOT, WAY_OUT):
        converted: bytes = version_converter.convert_version(model, opset).SerializeToString()
    return converted


def _axes(node: onnx.NodeProto, weight: str, rank: int) -> Axes | None:
    """Return what a weight's axes are for, or None where the operator is not one of those that are quantized."""
    if node.op_type == "Conv":
        return Axes(outputs=0, summed=1)
    if node.op_type == "ConvTranspose":
        return Axes(outputs=1, summed=0)
    if node.op_type not in ("Gemm", "MatMul") or node.input[1] != weight or rank < 2:
        return None
    return Axes(outputs=0, summed=1) if _transposes(node) else Axes(outputs=rank - 1, summed=rank - 2)


def _transposes(node: onnx.NodeProto) -> bool:
    return any(attribute.name == "transB" and attribute.i for attribute in node.attribute)


def _turned(model: onnx.ModelProto, weight: str) -> bool:
    """Let the layers that transpose a weight take it as it is, for it shall be turned in the file.

    ONNX Runtime's kernel wants it so: it takes a tenth of the time. Returns False, with nothing done, where something
    else takes the weight too.
    """
    users = [node for node in model.graph.node if weight in node.input]
    if not all(node.op_type == "Gemm" and node.input[1] == weight and _transposes(node) for node in users):
        return False
    for node in users:
        for attribute in node.attribute:
            if attribute.name == "transB":
                attribute.i = 0
        _keep_apart(model, node.output[0])
    return True


def _keep_apart(model: onnx.ModelProto, product: str) -> None:
    """Write a ReLU after a product as the larger of it and zero.

    Before ONNX Runtime looks for products with integer weights it puts each together with its ReLU, and has no kernel
    for the two.
    """
    relus = [node for node in model.graph.node if node.op_type == "Relu" and node.input[0] == product]
    for node in relus:
        node.op_type = "Max"
        node.input.append(ZERO)
    if relus and all(constant.name != ZERO for constant in model.graph.initializer):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(0), ZERO))


def _replace(model: onnx.ModelProto, constant: onnx.TensorProto, its: Quantized, bits: int) -> None:
    """Put the integers in the place of a constant, and before all others the operator that makes floats of them."""
    name, values = constant.name, its.values
    node = helper.make_node(
        "DequantizeLinear",
        [f"{name}_quantized", f"{name}_scale"],
        [name],
        f"{name}_DequantizeLinear",
        axis=its.axis,
        block_size=its.block,
    )
    model.graph.node.insert(0, node)
    model.graph.initializer.remove(constant)
    model.graph.initializer.append(numpy_helper.from_array(its.scales, f"{name}_scale"))
    model.graph.initializer.append(
        TensorProto(
            name=f"{name}_quantized",
            dims=values.shape,
            data_type=TensorProto.INT8 if bits == 8 else TensorProto.INT4,
            raw_data=values.tobytes() if bits == 8 else _packed(values),
        )
    )


def _packed(values: Integers) -> bytes:
    """Return two integers of four bits in each byte, the first one in its lower half."""
    flat = values.reshape(-1).view(np.uint8) & 0x0F
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return (flat[0::2] | flat[1::2] << 4).tobytes()
