"""ONNX files of other people's making: what one is refused for, and what is evened out before anything runs it."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it ships no types
from onnx import external_data_helper, version_converter

from packager.quiet import quiet
from runner.errors import StepError

LOWEST_OPSET = 13
"""From which on a weight can have one scale per output channel."""
DEFAULT_DOMAINS = ("", "ai.onnx")
RUNTIMES_DOMAINS = (*DEFAULT_DOMAINS, "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc", "com.ms.internal.nhwc")
HALF = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
GIVE_FP32 = "the file in fp32 that it was made from"
EXPORT_AGAIN = "export it again"


def read(path: Path) -> onnx.ModelProto:
    """Return what is in a file, weights in files beside it included. Raises StepError."""
    try:
        model = onnx.load_model_from_string(path.read_bytes())
    except OSError as error:
        raise StepError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    except DecodeError:
        raise StepError("is damaged or no ONNX file", where=str(path), advice=EXPORT_AGAIN) from None
    if not model.graph.node:
        raise StepError("is damaged or no ONNX file: it has no operators", where=str(path), advice=EXPORT_AGAIN)
    _take_in(model, path)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, UnicodeDecodeError) as error:
        raise StepError(f"is damaged or no valid ONNX file: {said(error)}", where=str(path)) from None
    _refuse_rounded(model, path)
    return model


def ends(model: onnx.ModelProto, path: Path) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """Return the one input and the one output. Raises StepError where there are more."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    for kind, found in (("input", inputs), ("output", model.graph.output)):
        if len(found) != 1:
            what = f"has {len(found)} {kind}s: {', '.join(value.name for value in found)}"
            advice = f"export it with one {kind}: {'the images' if kind == 'input' else 'the logits, N x classes'}"
            raise StepError(what, where=str(path), advice=advice)
    return inputs[0], model.graph.output[0]


def dimensions(value: onnx.ValueInfoProto) -> tuple[int | str, ...]:
    """Return the sizes of an input or output, a name where any will do."""
    sizes = value.type.tensor_type.shape.dim
    return tuple(each.dim_value if each.HasField("dim_value") else each.dim_param or "?" for each in sizes)


def opset(model: onnx.ModelProto) -> int:
    """Return the version of ONNX's own operators that the file is written in."""
    return max((each.version for each in model.opset_import if each.domain in DEFAULT_DOMAINS), default=1)


def upgraded(model: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Return the model in the lowest opset that can be quantized, or as it is if that is high enough.

    Raises StepError naming what cannot be converted.
    """
    if opset(model) >= LOWEST_OPSET:
        return model
    try:
        with quiet():
            return version_converter.convert_version(model, LOWEST_OPSET)
    except Exception as error:  # noqa: BLE001 - the converter raises whatever it meets
        raise StepError(
            f"is written in opset {opset(model)}, and cannot be converted to {LOWEST_OPSET}: {said(error)}",
            where=str(path),
            advice=f"export it with opset {LOWEST_OPSET} or higher",
        ) from None


def foreign_operators(model: onnx.ModelProto) -> list[str]:
    """Return the operators that neither ONNX nor ONNX Runtime defines, nor the file itself."""
    own = {(each.domain, each.name) for each in model.functions}
    nodes = [node for graph in _graphs(model.graph) for node in graph.node]
    return sorted(
        {
            f"{node.domain}::{node.op_type}"
            for node in nodes
            if node.domain not in RUNTIMES_DOMAINS and (node.domain, node.op_type) not in own
        }
    )


def tidy(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Rename the input and the output, name every operator, and let weights be no inputs.

    `names` has the new name of each; another tensor that has it already gets one of its own.
    """
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    # Before version 4 of the format every weight had to be an input as well.
    model.ir_version = max(model.ir_version, onnx.helper.find_min_ir_version_for(list(model.opset_import), True))
    _rename(graph, names)
    _name_operators(graph)


def set_dimensions(model: onnx.ModelProto, inputs: tuple[int | str, ...], outputs: tuple[int | str, ...]) -> None:
    """Declare the sizes of the input and the output, and forget those in between, which followed from others."""
    for value, sizes in ((model.graph.input[0], inputs), (model.graph.output[0], outputs)):
        value.CopyFrom(onnx.helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, sizes))
    for graph in _graphs(model.graph):
        del graph.value_info[:]


def for_any_batch(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy whose reshapes to `1 x …`, which exporters write where they saw one image, take as many as come."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    graph = copied.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {
        node.output[0]: each.t
        for node in graph.node
        if node.op_type == "Constant"
        for each in node.attribute
        if each.name == "value"
    }
    taken = set(constants) | {name for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type != "Reshape" or node.input[1] not in constants:
            continue
        sizes = onnx.numpy_helper.to_array(constants[node.input[1]]).copy()
        if not sizes.size or sizes[0] != 1:
            continue
        # What is left, or, where another size is already that, as many as come in.
        sizes[0] = 0 if -1 in sizes else -1
        node.input[1] = _unused("sizes", taken)
        taken.add(node.input[1])
        graph.initializer.append(onnx.numpy_helper.from_array(sizes, node.input[1]))
    return copied


def said(error: BaseException) -> str:
    """Return the first line of what a library said."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _take_in(model: onnx.ModelProto, path: Path) -> None:
    """Put weights that lie in other files into the model itself. Raises StepError."""
    outside = [tensor for tensor in model.graph.initializer if external_data_helper.uses_external_data(tensor)]
    files = {entry.value for tensor in outside for entry in tensor.external_data if entry.key == "location"}
    if missing := sorted(name for name in files if not (path.parent / name).is_file()):
        what = f"has its weights in {', '.join(missing)}, which is not beside it"
        advice = f"put it into {path.parent}, or export the model with its weights in one file"
        raise StepError(what, where=str(path), advice=advice)
    try:
        external_data_helper.load_external_data_for_model(model, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        what = f"the weights in {', '.join(sorted(files))} cannot be read: {said(error)}"
        raise StepError(what, where=str(path), advice=EXPORT_AGAIN) from None


def _refuse_rounded(model: onnx.ModelProto, path: Path) -> None:
    """Refuse what would be called fp32 and is not. Raises StepError."""
    operators = {node.op_type for graph in _graphs(model.graph) for node in graph.node}
    integer = sorted(each for each in operators if each.endswith(("uantizeLinear", "Integer")) or "QLinear" in each)
    if integer:
        raise StepError(f"is quantized already, by {', '.join(integer)}", where=str(path), advice=GIVE_FP32)
    if any(tensor.data_type in HALF for tensor in model.graph.initializer):
        raise StepError("has weights in half precision", where=str(path), advice=GIVE_FP32)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph and those in it, such as the branches of an `If`."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else attribute.graphs
            for each in inner:
                yield from _graphs(each)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    nodes = [node for each in _graphs(graph) for node in each.node]
    known = {name for node in nodes for name in (*node.input, *node.output)}
    renaming = dict(names)
    for name in names.values():
        if name in known and name not in names:
            renaming[name] = _unused(name, known | set(names.values()))
    for node in nodes:
        node.input[:] = [renaming.get(name, name) for name in node.input]
        node.output[:] = [renaming.get(name, name) for name in node.output]
    for each in _graphs(graph):
        for value in (*each.input, *each.output, *each.value_info, *each.initializer):
            value.name = renaming.get(value.name, value.name)


def _name_operators(graph: onnx.GraphProto) -> None:
    """Give each operator a name: by these, some are left in fp32."""
    taken = {node.name for node in graph.node}
    for node in graph.node:
        if not node.name:
            node.name = _unused(node.op_type, taken)
            taken.add(node.name)


def _unused(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}_{number}" in taken:
        number += 1
    return f"{name}_{number}"
