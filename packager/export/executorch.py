"""ExecuTorch files: a network whose parts are left to XNNPACK, for batches of one.

One, for ExecuTorch plans its memory for the largest batch that a file takes, and so each call would pay for that.
"""

import operator
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from packager.export import Exported
from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import quiet
from runner.errors import StepError, first_line

with quiet():
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import EdgeProgramManager, to_edge_transform_and_lower
    from executorch.exir.dialects._ops import ops
    from executorch.exir.pass_base import ExportPass

MEAN, VIEW = ops.edge.aten.mean.dim, ops.edge.aten.view_copy.default
DELEGATED = "executorch_call_delegate"
IMAGE_DIMENSIONS = 4


def export(module: nn.Module, example: Tensor) -> Exported:
    """Return the network as an ExecuTorch file. Raises StepError naming the layer that cannot be exported."""
    return written(lowered(module, example))


def written(program: EdgeProgramManager) -> Exported:
    """Return the file of a network that was lowered."""
    with quiet():
        content = bytes(program.to_executorch().buffer)
    return Exported(content=content, dynamic_batch=False)


def lowered(module: nn.Module, example: Tensor) -> EdgeProgramManager:
    """Return the network with all that XNNPACK computes left to it. Raises as `export` does."""
    with quiet(), torch.no_grad():
        try:
            return _lowered(torch.export.export(module, (example,)))
        except Exception as error:
            layer = failing_layer(module, lambda network: _lowered(torch.export.export(network, (example,))))
            what = f"the network cannot be exported to ExecuTorch, in {layer}: {first_line(error)}"
            raise StepError(what, advice=ADVICE) from error


def left_over(program: EdgeProgramManager) -> tuple[str, ...]:
    """Return the operators that XNNPACK does not compute, each once: ExecuTorch's own are slower."""
    graph = program.exported_program().graph
    calls = (node.target for node in graph.nodes if node.op == "call_function" and node.target is not operator.getitem)
    names = (str(getattr(each, "__name__", each)) for each in calls)
    return tuple(dict.fromkeys(name for name in names if name != DELEGATED))


def _lowered(program: ExportedProgram) -> EdgeProgramManager:
    return to_edge_transform_and_lower(
        program, transform_passes=[_KeptDimensions()], partitioner=[XnnpackPartitioner()]
    )


class _KeptDimensions(ExportPass):  # type: ignore[misc]  # ExecuTorch's types are not followed
    """Averages an image into one pixel, and takes away its dimensions after that: XNNPACK knows no other average."""

    def call_operator(self, op: object, args: tuple[Any, ...], kwargs: dict[str, Any], meta: object) -> object:
        """Return what an operator makes of its arguments; of an average, what these two make."""
        if op is not MEAN or len(args) != 2 or args[0].to_tensor().dim() != IMAGE_DIMENSIONS:
            return super().call_operator(op, args, kwargs, meta)
        features, dimensions = args
        if sorted(each % IMAGE_DIMENSIONS for each in dimensions) != [2, 3]:
            return super().call_operator(op, args, kwargs, meta)
        pixel = super().call_operator(MEAN, (features, dimensions, True), kwargs, meta)
        return super().call_operator(VIEW, (pixel, list(features.to_tensor().shape[:2])), {}, meta)
