"""ONNX files as quantization sees them: prepared for it, and their layers by the network's own names."""

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.shape_inference import quant_pre_process

from packager.layers import MOST_NAMES, matches
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError, nearest

CANNOT = "ONNX Runtime cannot quantize the network"
WAY_OUT = "leave the layer in fp32, with --keep-fp32, or --quantize none"
WEIGHT_INPUTS: Mapping[str, tuple[int, ...]] = {
    "Conv": (1,),
    "ConvTranspose": (1,),
    "Gemm": (1, 0),
    "MatMul": (1, 0),
    "LSTM": (1,),
    "GRU": (1,),
}
"""Of operators that have weights: the inputs that may be it, the usual one first."""
FUSED = re.compile(r"^(?:Conv(?:Bn|Mul)Fusion_W_|Conv(?:BnFusion_BN|AddFusion_Add)_B_)+")
"""What ONNX Runtime puts before the name of a constant into which it has folded another."""
WEIGHT = re.compile(r"[._](?:weight|kernel|w)$", re.IGNORECASE)
BIAS = re.compile(r"[._]bias$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """A node that has weights."""

    name: str
    """As the network has it, such as `stack1.conv1`: what its weight is called, without `.weight`."""
    operator: str
    node: str
    """The node's own name, which no other has."""
    weight: str
    """The name of the constant."""


def prepared(content: bytes) -> onnx.ModelProto:
    """Return the file as ONNX Runtime's quantizers want it: simplified, batch norms folded, shapes inferred."""
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder, quiet(), refused(CANNOT, WAY_OUT):
        original, result = Path(folder, "fp32.onnx"), Path(folder, "prepared.onnx")
        original.write_bytes(content)
        quant_pre_process(original, result, skip_symbolic_shape=True)
        model: onnx.ModelProto = load_model_with_shape_infer(result)
    name_nodes(model)
    return model


def name_nodes(model: onnx.ModelProto) -> None:
    """Give a name of its own to each node that has none: quantizers know nodes by name."""
    taken = Counter(node.name for node in model.graph.node)
    for index, node in enumerate(model.graph.node):
        if not node.name or taken[node.name] > 1:
            node.name = f"{node.name or node.op_type}_{index}"


def layers(model: onnx.ModelProto) -> tuple[Layer, ...]:
    """Return the layers in the graph's order. One that is used twice is there twice, under one name."""
    constants = {constant.name for constant in model.graph.initializer}
    return tuple(_layers(model.graph.node, constants))


def kept(found: Sequence[Layer], patterns: Sequence[str]) -> tuple[Layer, ...]:
    """Return the layers that stay in fp32. Raises StepError for a pattern that names none, or where all do."""
    names = [layer.name for layer in found]
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in names):
            advice = nearest(pattern, names) or (f"names such as {', '.join(names[:MOST_NAMES])}" if names else "")
            raise StepError(f"{pattern!r} names no layer of the network", where="keep_fp32", advice=advice)
    chosen = tuple(layer for layer in found if matches(layer.name, patterns))
    if chosen and len(chosen) == len(found):
        raise StepError("every layer stays in fp32", where="keep_fp32", advice="fewer patterns, or --quantize none")
    return chosen


def _layers(nodes: Sequence[onnx.NodeProto], constants: set[str]) -> Iterator[Layer]:
    readers = defaultdict[str, list[onnx.NodeProto]](list)
    for node in nodes:
        for name in node.input:
            readers[name].append(node)
    for node in nodes:
        places = [place for place in WEIGHT_INPUTS.get(node.op_type, ()) if place < len(node.input)]
        weights = [node.input[place] for place in places if node.input[place] in constants]
        if weights:
            name = _named(weights[0], WEIGHT) or _by_bias(node, weights[0], readers, constants) or node.name
            yield Layer(name=name, operator=node.op_type, node=node.name, weight=weights[0])


def _named(constant: str, ending: re.Pattern[str]) -> str:
    """Return what the constant is called without its ending, or an empty string where it has not this ending."""
    name = FUSED.sub("", constant)
    return ending.sub("", name) if ending.search(name) else ""


def _by_bias(
    node: onnx.NodeProto, weight: str, readers: Mapping[str, Sequence[onnx.NodeProto]], constants: set[str]
) -> str:
    """Return the layer's name by its bias, or an empty string.

    PyTorch's exporter transposes the weight of a linear layer that is a MatMul, and the transposed one has a number for
    a name; the bias, added after it, has kept its own. It has one for all biases that are equal, though, such as zeros.
    """
    biases = [*node.input[2:3]]
    if node.op_type == "MatMul":
        biases += [name for reader in readers[node.output[0]] if reader.op_type == "Add" for name in reader.input]
    own = [bias for bias in biases if bias in constants and len(readers[bias]) == len(readers[weight])]
    return next(filter(None, (_named(bias, BIAS) for bias in own)), "")
