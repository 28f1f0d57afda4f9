"""The ranges of an ONNX file's activations, from running it on the calibration samples."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray

from packager.quantize import Order
from packager.quantize.calibration import stride
from packager.quantize.onnx_operators import operators
from packager.quantize.ranges import RangeEstimator
from runner.errors import StepError

Ranges = Mapping[str, tuple[float, float]]
"""Tensor's name -> its low and its high end."""
Tensors = Mapping[str, NDArray[np.float32]]


def ranges(model: onnx.ModelProto, order: Order, *, dynamic_batch: bool) -> Ranges:
    """Return the range of each tensor that an integer operator may take or give.

    Raises StepError where one is not finite.
    """
    observed = _Observed(model)
    first = observed.run(order.calibration.example())
    estimators = {name: RangeEstimator(order.plan.ranges, order.plan.percentile) for name in first}
    size = stride(sum(tensor.nbytes for tensor in first.values())) if dynamic_batch else 1
    passes = RangeEstimator(order.plan.ranges).passes
    for number in range(passes):
        again = ", a second time" if number else ""
        for batch in order.calibration.batches(f"calibrate onnx{again}", size):
            for name, tensor in observed.run(batch).items():
                _see(estimators[name], name, tensor)
        for estimator in estimators.values():
            estimator.end_pass()
    return {name: estimator.range() for name, estimator in estimators.items()}


def session(content: bytes, level: onnxruntime.GraphOptimizationLevel) -> onnxruntime.InferenceSession:
    """Open a file for running it here, without a word about what is in it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 4
    # Threads that wait busily for each other crawl where the machine has other work.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Without VNNI, integer kernels saturate, and a device's answers are not this host's.
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class _Observed:
    """Runs a model and returns every float tensor that an integer operator may take or give."""

    def __init__(self, model: onnx.ModelProto) -> None:
        integers = operators(model)
        touched = {
            name for node in model.graph.node if node.op_type in integers for name in (*node.input, *node.output)
        }
        watched = onnx.ModelProto()
        watched.CopyFrom(model)
        present = {output.name for output in model.graph.output}
        watched.graph.output.extend(
            info
            for info in model.graph.value_info
            if info.name in touched - present and info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        )
        # Optimised, it would have other tensors.
        self.session = session(watched.SerializeToString(), onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
        self.input = self.session.get_inputs()[0].name
        self.names = [output.name for output in self.session.get_outputs() if output.type == "tensor(float)"]

    def run(self, batch: NDArray[np.float32]) -> Tensors:
        """Return the batch and what is computed from it."""
        computed = self.session.run(self.names, {self.input: batch})
        return {self.input: batch, **dict(zip(self.names, computed, strict=True))}


def _see(estimator: RangeEstimator, name: str, tensor: NDArray[np.float32]) -> None:
    try:
        estimator.see(torch.from_numpy(tensor))
    except StepError as error:
        raise StepError(error.what, where=f"tensor {name!r}", advice=error.advice) from None
