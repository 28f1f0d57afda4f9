"""ExecuTorch files: a network whose parts are left to XNNPACK, for batches of one.

One, for ExecuTorch plans its memory for the largest batch that a file takes, and so each call would pay for that.
"""

import operator

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

DELEGATED = "executorch_call_delegate"


def export(module: nn.Module, example: Tensor) -> Exported:
    """Return the network as an ExecuTorch file. Raises StepError naming the layer that cannot be exported."""
    with quiet():
        content = bytes(lowered(module, example).to_executorch().buffer)
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
    return to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
