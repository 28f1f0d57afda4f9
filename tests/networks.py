"""Writes small real networks as files, for tests and benchmarks that run them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

CHANNELS, SIZE, CLASSES = 1, 8, 3


def inputs(samples: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """Return random images: samples x 1 x 8 x 8."""
    shape = (samples, CHANNELS, SIZE, SIZE)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_onnx(path: Path, *, shape: Sequence[int] = (CHANNELS, SIZE, SIZE), classes: int = CLASSES) -> Path:
    """Write a network of one convolution, ReLU, and one linear layer, with seeded weights."""
    chance = np.random.default_rng(1)
    channels, height, width = shape
    weights = {
        "kernel": chance.normal(size=(8, channels, 3, 3)),
        "matrix": chance.normal(size=(8 * height * width, classes)) / 16,
        "bias": chance.normal(size=classes),
    }
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(values.astype(np.float32), name) for name, values in weights.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path
