"""Probes of ONNX files: the file itself with further outputs, none of which lies inside what ONNX Runtime makes one.

A tensor that is an output has to exist, and what would have been fused around it no longer is: a convolution between
two conversions would be computed in float32, and the probe would answer otherwise than its artifact. So only those
tensors are returned that ONNX Runtime keeps under their own names when it optimises the file.
"""

import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from packager.explain.probe import Layer, Made
from packager.quantize.onnx_graph import layers
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError

Inputs = NDArray[np.float32]
Producers = Mapping[str, onnx.NodeProto]

EXACT, SIGNED = "session.x64quantprecision", "session.qdqisint8allowed"
"""Settings of ONNX Runtime: no int8 instruction that saturates; integer kernels for signed activations, which it takes
on ARM, and on x86 only where it is told to."""
LAYOUTS = ("NchwcTransformer", "NhwcTransformer")
"""Optimisers that change the order of values in memory, and with it most names, but nothing of what is fused."""
MOVES = frozenset({"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity"})
"""What computes nothing."""
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast"})
ACTIVATIONS = frozenset({"Relu", "Clip"})
"""What is fused into the layer before it."""
PROVIDERS = ("CPUExecutionProvider",)
CANNOT, WAY_OUT = "none of its layers can be shown", "compare the logits alone"


@dataclass(frozen=True, kw_only=True, slots=True)
class Question:
    """How an artifact is run, and on which prepared samples, one at a time."""

    inputs: Inputs
    exact_int8: bool

    def answer(self, content: bytes) -> NDArray[np.float32]:
        """Return a file's logits, N x classes."""
        session = onnxruntime.InferenceSession(content, _settings([EXACT] * self.exact_int8), providers=PROVIDERS)
        given, taken = session.get_outputs()[0].name, session.get_inputs()[0].name
        return np.concatenate([session.run([given], {taken: each[None]})[0] for each in self.inputs])


def make(content: bytes, question: Question, named_like: bytes | None = None) -> Made:
    """Return a probe of an ONNX file, with logits that are the file's own bit for bit, as far as that can be had.

    `named_like` is the network in fp32, whose weights still have the names of its layers.
    Raises StepError where there is nothing to show.
    """
    with quiet(), refused(CANNOT, WAY_OUT):
        model = onnx.load_model_from_string(content)
        # As the device will: without integer kernels for signed activations x86 renames most of them.
        kept = _producers(_optimised(content, [SIGNED] * question.exact_int8))
        nodes = _producers(model)
        found = [name for name in _borders(model) if name in kept]
        names = list(_harmless(content, [name for name in found if _computes(_layer(name, nodes, found))], question))
        probe = with_outputs(content, names)
        executed = _producers(_optimised(probe, [EXACT] * question.exact_int8))
    if not names:
        raise StepError(f"{CANNOT}: ONNX Runtime keeps no tensor between its input and its logits", advice=WAY_OUT)
    titles = {layer.node: layer.name for layer in layers(onnx.load_model_from_string(named_like or content))}
    numbers = _numbers(model)
    shown = tuple(
        Layer(name=_title(_layer(name, nodes, names), titles, numbers), operator=_operator(name, executed, names))
        for name in names
    )
    return Made(content=probe, layers=shown)


def with_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """Return the file with these tensors as further outputs."""
    model = onnx.load_model_from_string(content)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    result: bytes = model.SerializeToString(deterministic=True)
    return result


def _borders(model: onnx.ModelProto) -> Iterator[str]:
    """Yield the names of what is computed from the input, but for what is only moved or turned back into floats."""
    outputs = {value.name for value in model.graph.output}
    computed = {value.name for value in model.graph.input} - {value.name for value in model.graph.initializer}
    for node in model.graph.node:
        if computed.isdisjoint(node.input):
            continue
        computed.update(node.output)
        if _computes(node):
            yield from (name for name in node.output if name and name not in outputs)


def _computes(node: onnx.NodeProto) -> bool:
    return node.op_type not in MOVES and node.op_type != "DequantizeLinear"


def _harmless(content: bytes, names: Sequence[str], question: Question) -> Sequence[str]:
    """Return the names without those that change the logits when they are outputs beside the ones before them."""
    expected = question.answer(content).tobytes()

    def same(some: Sequence[str]) -> bool:
        return question.answer(with_outputs(content, some)).tobytes() == expected

    if same(names):
        return names
    kept = list[str]()
    for name in names:
        if same([*kept, name]):
            kept.append(name)
    return kept


def _optimised(content: bytes, entries: Sequence[str]) -> onnx.ModelProto:
    """Return what ONNX Runtime makes of a file before it runs it."""
    settings = _settings(entries)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        path = Path(folder, "optimised.onnx")
        settings.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(content, settings, providers=PROVIDERS, disabled_optimizers=[*LAYOUTS])
        return onnx.load(path)


def _settings(entries: Sequence[str]) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    settings.log_severity_level = 3
    for entry in entries:
        settings.add_session_config_entry(entry, "1")
    return settings


def _producers(model: onnx.ModelProto) -> Producers:
    return {name: node for node in model.graph.node for name in node.output}


def _numbers(model: onnx.ModelProto) -> Mapping[str, str]:
    """Return by its first output which one of its type each node is."""
    seen = Counter[str]()
    found = {}
    for node in model.graph.node:
        seen[node.op_type] += 1
        found[node.output[0]] = f"{node.op_type} {seen[node.op_type]}"
    return found


def _layer(name: str, nodes: Producers, names: Collection[str]) -> onnx.NodeProto:
    """Return the node that a tensor comes from, without the conversions and activations after it."""
    node = nodes[name]
    before = node.input[0]
    if node.op_type in CONVERSIONS | ACTIVATIONS | MOVES and before in nodes and before not in names:
        return _layer(before, nodes, names)
    return node


def _title(node: onnx.NodeProto, titles: Mapping[str, str], numbers: Mapping[str, str]) -> str:
    """Return what a layer is called: by its weight, by its node, or by which one of its type it is."""
    if node.op_type == "QuantizeLinear":
        return "input"
    plain = node.name.removesuffix("_quant")
    return titles.get(plain) or plain.removeprefix("node_") or numbers[node.output[0]]


def _operator(name: str, executed: Producers, names: Collection[str]) -> str:
    """Return the types of the operators that a tensor is computed by since the one before."""
    types = list[str]()
    while name in executed and not (types and name in names):
        node = executed[name]
        if _computes(node) and node.op_type not in types[:1]:
            types.insert(0, node.op_type)
        if node.op_type not in CONVERSIONS | MOVES:
            break
        name = node.input[0]
    return " + ".join(types)
