"""The ranges of a LiteRT file's activations, from running it on the calibration samples."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from packager.export.litert_graph import CODES, Graph
from packager.quantize import Order
from packager.quantize.calibration import stride
from packager.quantize.ranges import RangeEstimator
from packager.quiet import silence
from runner.errors import StepError

Ranges = Mapping[str, tuple[float, float]]
"""Tensor's name -> its low and its high end."""
PADDING = 2
"""Which input of PADV2 is the number that it pads with."""


def ranges(content: bytes, order: Order) -> Ranges:
    """Return the range of each tensor that is computed, and of the input. Raises StepError where one is not finite."""
    graph = Graph(content)
    watched = {index: graph.tensor_name(index) for index in _computed(graph)}
    estimators = {name: RangeEstimator(order.plan.ranges, order.plan.percentile) for name in watched.values()}
    run = _Watched(content, tuple(watched))
    size = stride(sum(tensor.nbytes for tensor in run(order.calibration.example())))
    passes = RangeEstimator(order.plan.ranges).passes
    for number in range(passes):
        again = ", a second time" if number else ""
        for batch in order.calibration.batches(f"calibrate litert{again}", size):
            # The file may be for one sample at a time; a moving average is over as many as everywhere else.
            answers = [run(sample[None]) for sample in batch]
            for name, values in zip(watched.values(), zip(*answers, strict=True), strict=True):
                _see(estimators[name], name, np.stack(values))
        for estimator in estimators.values():
            estimator.end_pass()
    return {name: estimator.range() for name, estimator in estimators.items()}


def bound_padding(graph: Graph, found: Ranges) -> None:
    """Pad with the low end of what is padded where it was minus infinity, which has no integer: no maximum changes."""
    for pad in graph.operators(CODES.PADV2):
        if np.isneginf(graph.constant(pad.inputs[PADDING], np.float32)).all():
            low, _ = found[graph.tensor_name(pad.inputs[0])]
            graph.set_constant(pad.inputs[PADDING], np.array([low], np.float32))


def _computed(graph: Graph) -> Iterator[int]:
    """Yield the float tensors that are not constants."""
    made = [index for each in graph.graph.operators for index in each.outputs]
    for index in (*graph.graph.inputs, *made):
        if graph.graph.tensors[index].type == schema.TensorType.FLOAT32:
            yield index


class _Watched:
    """Runs a file and keeps every tensor: without XNNPACK, which has others."""

    def __init__(self, content: bytes, watched: Sequence[int]) -> None:
        self.watched = watched
        with silence():
            self.interpreter = Interpreter(
                model_content=content,
                num_threads=torch.get_num_threads(),
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
                experimental_preserve_all_tensors=True,
            )
            self.interpreter.allocate_tensors()
        self.taken = self.interpreter.get_input_details()[0]["index"]

    def __call__(self, sample: NDArray[np.float32]) -> tuple[NDArray[np.float32], ...]:
        self.interpreter.set_tensor(self.taken, sample)
        self.interpreter.invoke()
        return tuple(self.interpreter.get_tensor(index) for index in self.watched)


def _see(estimator: RangeEstimator, name: str, values: NDArray[np.float32]) -> None:
    try:
        # What a pool is padded with is no activation.
        estimator.see(torch.from_numpy(values[~np.isneginf(values)]))
    except StepError as error:
        raise StepError(error.what, where=f"tensor {name!r}", advice=error.advice) from None
