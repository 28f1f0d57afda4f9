"""ONNX files with integer weights: how small they are, what is in them, and what ONNX Runtime answers with them."""

import time
from collections.abc import Sequence

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, onnx_weight_only
from packager.quantize.calibration import Calibration
from packager.quantize.onnx_weight_only import Axes, quantized
from runner.errors import StepError
from runner.progress import Silent
from tests.onnx_files import arrays, operators, run, snr_db


@pytest.fixture(scope="module")
def calibration(few_splits: Splits) -> Calibration:
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


@pytest.fixture(scope="module")
def fp32(trained: nn.Module, calibration: Calibration) -> bytes:
    """The trained network as an fp32 file, nearly all of which is one linear layer."""
    return onnx_export.export(trained, torch.from_numpy(calibration.example()), 20).content


def order(calibration: Calibration, keep_fp32: Sequence[str] = ()) -> Order:
    plan = recipe.Quantize(keep_fp32=tuple(keep_fp32))
    return Order(target=targets.load("x86"), plan=plan, calibration=calibration)


def integer_types(content: bytes) -> dict[str, int]:
    """Return the ONNX type of each quantized weight."""
    constants = onnx.load_from_string(content).graph.initializer
    return {each.name: each.data_type for each in constants if each.name.endswith("_quantized")}


class Shapes(nn.Module):
    """Weights of every kind: depthwise, transposed, one-dimensional, of a product without a bias, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(1, 32, 3, stride=2)
        self.depthwise = nn.Conv2d(32, 32, 3, groups=32)
        self.point = nn.Conv2d(32, 64, 1)
        self.up = nn.ConvTranspose2d(64, 32, 2)
        self.line = nn.Conv1d(32, 32, 3)
        self.twice = nn.Linear(32, 32)
        self.last = nn.Linear(32, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.up(self.point(torch.relu(self.depthwise(self.wide(x)))))
        x = torch.relu(self.line(x.flatten(2))).mean(2)
        logits: Tensor = self.last(torch.relu(self.twice(torch.relu(self.twice(x)))))
        return logits


@pytest.mark.parametrize(("bits", "least_db"), [(8, 35), (4, 15)])
def test_the_file_is_small_and_answers_as_the_network_does(
    bits: int, least_db: float, fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_weight_only.quantize(fp32, order(calibration), bits)

    onnx.checker.check_model(content)
    assert len(content) <= {8: 0.256, 4: 0.16}[bits] * len(fp32)
    assert snr_db(content, trained, few_splits) >= least_db
    assert set(integer_types(content).values()) == {onnx.TensorProto.INT8 if bits == 8 else onnx.TensorProto.INT4}
    assert not {"QuantizeLinear", "DynamicQuantizeLinear"} & set(operators(content))  # activations stay float


@pytest.mark.parametrize(("bits", "least_db"), [(8, 35), (4, 10)])
def test_weights_of_every_shape_are_borne(
    bits: int, least_db: float, calibration: Calibration, few_splits: Splits
) -> None:
    torch.manual_seed(0)
    content = onnx_export.export(Shapes().eval(), torch.from_numpy(calibration.example()), 20).content
    small = onnx_weight_only.quantize(content, order(calibration), bits)

    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    assert compare(run(small, inputs), run(content, inputs)).snr_db >= least_db
    assert len(integer_types(small)) == 7


def test_scales_are_of_output_channels_in_eight_bits_and_of_blocks_in_four(
    fp32: bytes, calibration: Calibration
) -> None:
    eight = arrays(onnx_weight_only.quantize(fp32, order(calibration), 8))
    four = arrays(onnx_weight_only.quantize(fp32, order(calibration), 4))

    names = ("conv1.weight", "conv2.weight", "hidden.weight", "linear.weight")
    assert [eight[f"{name}_scale"].shape for name in names] == [(32,), (64,), (512,), (4,)]
    # conv1 sums over one channel, which is no block.
    assert [four[f"{name}_scale"].shape for name in names] == [(32,), (64, 1, 3, 3), (98, 512), (16, 4)]


@pytest.mark.parametrize(("opset", "bits", "expected"), [(18, 8, 18), (18, 4, 21), (21, 4, 21)])
def test_the_file_takes_a_later_version_of_the_operators_only_for_four_bits(
    opset: int, bits: int, expected: int, trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    content = onnx_export.export(trained, torch.from_numpy(calibration.example()), opset).content
    model = onnx.load_from_string(onnx_weight_only.quantize(content, order(calibration), bits))

    assert [each.version for each in model.opset_import if not each.domain] == [expected]
    assert snr_db(model.SerializeToString(), trained, few_splits) >= 15


def test_a_layer_is_left_in_fp32_by_its_name(fp32: bytes, calibration: Calibration) -> None:
    content = onnx_weight_only.quantize(fp32, order(calibration, ["conv*"]), 8)

    assert integer_types(content).keys() == {"hidden.weight_quantized", "linear.weight_quantized"}
    with pytest.raises(StepError, match="'convolution' names no layer"):
        onnx_weight_only.quantize(fp32, order(calibration, ["convolution"]), 8)


def test_a_network_without_weights_has_no_such_file(calibration: Calibration) -> None:
    content = onnx_export.export(nn.Flatten(), torch.zeros(1, 1, 28, 28), 20).content
    with pytest.raises(StepError, match="the network has no weights to quantize"):
        onnx_weight_only.quantize(content, order(calibration), 8)


@pytest.mark.parametrize("bits", [8, 4])
def test_linear_layers_run_on_integer_kernels(bits: int, calibration: Calibration) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU())
    content = onnx_export.export(network.eval(), torch.from_numpy(calibration.example()), 20).content
    small = onnx_weight_only.quantize(content, order(calibration), bits)

    # Where the runtime makes floats of a million weights at each run, this takes ten times as long as in fp32.
    assert fastest(small, calibration.example()) < 2 * fastest(content, calibration.example())


def fastest(content: bytes, inputs: NDArray[np.float32]) -> float:
    """Return the shortest of thirty runs on one thread, in seconds of its time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    times = []
    for _ in range(30):
        began = time.thread_time()
        session.run(None, {"input": inputs})
        times.append(time.thread_time() - began)
    return min(times)


def test_eight_bits_are_the_weights_over_the_largest_of_their_channel() -> None:
    weights = np.array([[127.0, -64.2, 0.4], [0.0, 0.0, 0.0], [1.0, -2.0, 0.5]], np.float32)
    its = quantized(weights, Axes(outputs=0, summed=1), 8)

    assert its.values.tolist() == [[127, -64, 0], [0, 0, 0], [64, -127, 32]]
    assert its.scales.tolist() == pytest.approx([1, 1 / 127, 2 / 127])
    assert (its.axis, its.block) == (0, None)


def test_four_bits_take_a_scale_that_errs_less_than_that_of_the_largest() -> None:
    weights = np.random.default_rng(0).normal(size=(8, 64)).astype(np.float32)
    its = quantized(weights, Axes(outputs=0, summed=1), 4)

    assert (its.axis, its.block, its.scales.shape) == (1, 32, (8, 2))
    assert -8 <= its.values.min() < its.values.max() <= 7
    scales = np.repeat(its.scales, 32, axis=1)
    largest = np.repeat(np.abs(weights.reshape(8, 2, 32)).max(2), 32, axis=1) / 7
    error = np.square(its.values * scales - weights).mean()
    assert error < 0.95 * np.square(np.rint(weights / largest) * largest - weights).mean()
