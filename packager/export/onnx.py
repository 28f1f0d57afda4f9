"""ONNX files, by PyTorch's exporter that goes through `torch.export`."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import onnx
import torch
from torch import Tensor, nn

from packager.failing_layer import ADVICE, failing_layer
from runner.errors import StepError

INPUT, OUTPUT = "input", "logits"


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An ONNX file and what is to be known of it."""

    content: bytes
    dynamic_batch: bool
    """False where the network's code fixes the batch to one."""


def export(module: nn.Module, example: Tensor, opset: int) -> Exported:
    """Return the network as an ONNX file. Raises StepError naming the layer that cannot be exported."""
    try:
        return _exported(module, example, opset, dynamic_batch=True)
    except Exception as dynamic_error:  # noqa: BLE001 - the exporter raises whatever the network's own code raises
        try:
            return _exported(module, example, opset, dynamic_batch=False)
        except Exception as error:  # noqa: BLE001 - as above
            layer = failing_layer(module, lambda network: torch.export.export(network, (example,)))
            what = f"the network cannot be exported to ONNX, in {layer}: {_cause(error)}"
            raise StepError(what, advice=ADVICE) from dynamic_error


def _exported(module: nn.Module, example: Tensor, opset: int, *, dynamic_batch: bool) -> Exported:
    # Two samples: with one, torch.export would take the batch for the constant 1.
    inputs = example.expand(2, *example.shape[1:]).clone() if dynamic_batch else example
    shapes = ({0: torch.export.Dim("batch")},) if dynamic_batch else None
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module,
            (inputs,),
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
    for owner in (model, model.graph, *model.graph.node, *model.graph.input, *model.graph.output):
        del owner.metadata_props[:]
        owner.doc_string = ""
    for values in (model.graph.value_info, model.graph.initializer):
        for value in values:
            del value.metadata_props[:]
            value.doc_string = ""
    for function in model.functions:
        for node in (function, *function.node):
            del node.metadata_props[:]
            node.doc_string = ""
    content: bytes = model.SerializeToString(deterministic=True)
    return content


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress lines, log and warnings from the user, who did not ask for them."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _cause(error: BaseException) -> str:
    """Return the first line of the innermost error: the exporter wraps it in pages of its own."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no message'}"
