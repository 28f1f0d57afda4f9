"""Writes small real networks as files, for tests and benchmarks that run them."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

from runner.manifest import Preprocess

if TYPE_CHECKING:
    from torch import nn

CHANNELS, SIZE, CLASSES = 1, 8, 3
PREPROCESS = Preprocess(
    channels=CHANNELS, height=SIZE, width=SIZE, scale=1 / 255, mean=(0.5,), std=(0.25,), resize="none"
)


def inputs(samples: int = 40, seed: int = 0) -> NDArray[np.uint8]:
    """Return random images: samples x 1 x 8 x 8."""
    shape = (samples, CHANNELS, SIZE, SIZE)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def weights(shape: Sequence[int] = (CHANNELS, SIZE, SIZE), classes: int = CLASSES) -> dict[str, NDArray[np.float32]]:
    """Return the network's seeded weights: one convolution, and one linear layer behind a ReLU."""
    chance = np.random.default_rng(1)
    channels, height, width = shape
    values = {
        "kernel": chance.normal(size=(8, channels, 3, 3)),
        "matrix": chance.normal(size=(8 * height * width, classes)) / 16,
        "bias": chance.normal(size=classes),
    }
    return {name: array.astype(np.float32) for name, array in values.items()}


def expected_logits(samples: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return what the network says to stored samples, computed by numpy alone."""
    values = weights()
    padded = np.pad(PREPROCESS.apply(samples).astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
    features = np.einsum("nchwij,kcij->nkhw", windows, values["kernel"].astype(np.float64))
    logits: NDArray[np.float64] = np.maximum(features, 0).reshape(len(samples), -1) @ values["matrix"] + values["bias"]
    return logits


def write_onnx(
    path: Path,
    *,
    shape: Sequence[int] = (CHANNELS, SIZE, SIZE),
    classes: int = CLASSES,
    kind: int = TensorProto.FLOAT,
    opset: int = 18,
    ir_version: int = 9,
) -> Path:
    """Write the network as an ONNX file."""
    nodes = [
        helper.make_node("Conv", ["input", "kernel"], ["features"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Flatten", ["active"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"]),
    ]
    numpy_type = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", kind, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", kind, ["batch", classes])],
        [numpy_helper.from_array(array.astype(numpy_type), name) for name, array in weights(shape, classes).items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version), path)
    return path


def write_torchscript(path: Path) -> Path:
    """Write the network as a frozen TorchScript file."""
    import torch  # noqa: PLC0415 - most tests of the runner need no torch

    with warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(torch_network(), torch.zeros(1, CHANNELS, SIZE, SIZE))  # type: ignore[no-untyped-call]
        torch.jit.freeze(traced).save(str(path))
    return path


def write_executorch(path: Path) -> Path:
    """Write the network as an ExecuTorch file, for batches of one."""
    import torch  # noqa: PLC0415 - as above

    from packager.export import executorch  # noqa: PLC0415 - heavy, and an extra

    path.write_bytes(executorch.export(torch_network(), torch.zeros(1, CHANNELS, SIZE, SIZE)).content)
    return path


def torch_network() -> "nn.Module":
    """Return the network as PyTorch has it."""
    import torch  # noqa: PLC0415 - as above

    values = {name: torch.from_numpy(array) for name, array in weights().items()}
    network = torch.nn.Sequential(
        torch.nn.Conv2d(CHANNELS, 8, 3, padding=1, bias=False),
        torch.nn.ReLU(),
        torch.nn.Flatten(),
        torch.nn.Linear(8 * SIZE * SIZE, CLASSES),
    ).eval()
    network.load_state_dict({"0.weight": values["kernel"], "3.weight": values["matrix"].T, "3.bias": values["bias"]})
    return network
