"""What tests read in ONNX files, and how they run them."""

from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

from packager.check import compare
from packager.data import Splits
from packager.train import logits
from runner.manifest import Target

Arrays = Mapping[str, NDArray[np.generic]]


def operators(content: bytes) -> list[str]:
    """Return the operators of a file in order."""
    return [node.op_type for node in onnx.load_from_string(content).graph.node]


def arrays(content: bytes) -> Arrays:
    """Return a file's constants."""
    return {value.name: numpy_helper.to_array(value) for value in onnx.load_from_string(content).graph.initializer}


def run(content: bytes, inputs: NDArray[np.float32], target: Target | None = None) -> NDArray[np.float32]:
    """Return ONNX Runtime's answers, without saturation where the target has none."""
    options = onnxruntime.SessionOptions()
    exact = target is not None and target.machine == "aarch64"
    options.add_session_config_entry("session.x64quantprecision", "1" if exact else "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: inputs})[0])


def snr_db(content: bytes, module: nn.Module, splits: Splits, target: Target | None = None) -> float:
    """Return signal to noise of a file's answers on the evaluation samples against those of the network."""
    answers = run(content, splits.preprocess.apply(splits.evaluation.array()), target)
    return compare(answers, logits(module, splits.evaluation, splits.preprocess).numpy()).snr_db
