"""ONNX files, by PyTorch's exporter that goes through `torch.export`."""

import onnx
import torch
from google.protobuf.message import Message  # type: ignore[import-untyped]  # it ships no types
from torch import Tensor, nn

from packager.export import Exported
from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import quiet
from runner.errors import StepError, first_line, innermost

INPUT, OUTPUT = "input", "logits"
NOTES = ("doc_string", "metadata_props")


def export(module: nn.Module, example: Tensor, opset: int) -> Exported:
    """Return the network as an ONNX file. Raises StepError naming the layer that cannot be exported."""
    with quiet(), torch.no_grad():
        try:
            return _exported(module, example, opset, dynamic_batch=True)
        except Exception as dynamic_error:  # noqa: BLE001 - the exporter raises whatever the network's own code raises
            try:
                return _exported(module, example, opset, dynamic_batch=False)
            except Exception as error:  # noqa: BLE001 - as above
                layer = failing_layer(module, lambda network: torch.export.export(network, (example,)))
                # The exporter wraps what went wrong in pages of its own.
                cause = first_line(innermost(error, BaseException))
                what = f"the network cannot be exported to ONNX, in {layer}: {cause}"
                raise StepError(what, advice=ADVICE) from dynamic_error


def _exported(module: nn.Module, example: Tensor, opset: int, *, dynamic_batch: bool) -> Exported:
    # Two samples: with one, torch.export would take the batch for the constant 1.
    inputs = example.expand(2, *example.shape[1:]).clone() if dynamic_batch else example
    shapes = ({0: torch.export.Dim("batch")},) if dynamic_batch else None
    # By ourselves: given a module, the exporter gives way where the batch cannot vary, and makes it a constant 2.
    exported = torch.export.export(module, (inputs,), dynamic_shapes=shapes)
    program = torch.onnx.export(
        exported,
        dynamo=True,
        input_names=[INPUT],
        output_names=[OUTPUT],
        opset_version=opset,
        dynamic_shapes=shapes,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter returned nothing")
    return Exported(content=stripped(program.model_proto), dynamic_batch=dynamic_batch)


def stripped(model: onnx.ModelProto) -> bytes:
    """Return the file without the exporter's notes: they hold paths of this machine, and are half of a small file."""
    _strip(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _strip(message: Message) -> None:
    """Clear the notes of a message and of all messages in it, graphs in the branches of an `If` included."""
    for note in NOTES:
        if note in message.DESCRIPTOR.fields_by_name:
            message.ClearField(note)
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if isinstance(value, Message) else value:
                _strip(part)
