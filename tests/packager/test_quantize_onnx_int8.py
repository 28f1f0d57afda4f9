"""int8 ONNX files: their integer types, their ranges, and what ONNX Runtime answers with them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import nn

import targets
from packager.check import compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import onnx_int8
from packager.quantize.calibration import STRIDE, Calibration
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from tests import modules
from tests.fakes import RecordingProgress
from tests.watched import WatchedCalibration

X86, ARM = TARGETS = targets.load("x86"), targets.load("arm-qnnpack")
NAMES = [target.name for target in TARGETS]

Arrays = Mapping[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def calibration(few_splits: Splits) -> Calibration:
    """The calibration samples, 70 of them."""
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


@pytest.fixture(scope="module")
def fp32(trained: nn.Module, calibration: Calibration) -> bytes:
    """The trained network as an fp32 file."""
    return onnx_export.export(trained, torch.from_numpy(next(calibration.batches("", 1))), 20).content


@pytest.fixture(scope="module")
def static(fp32: bytes, calibration: Calibration) -> Mapping[str, bytes]:
    """The int8 file of each target."""
    return {target.name: onnx_int8.static(fp32, target, calibration, STRIDE) for target in TARGETS}


def arrays(content: bytes) -> Arrays:
    """Return a file's constants."""
    return {value.name: numpy_helper.to_array(value) for value in onnx.load_from_string(content).graph.initializer}


def activations(content: bytes) -> list[tuple[np.dtype[np.generic], int]]:
    """Return type and value of the zero point of each quantized activation."""
    constants = arrays(content)
    nodes = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "QuantizeLinear"]
    return [(constants[node.input[2]].dtype, int(constants[node.input[2]])) for node in nodes]


def weights(content: bytes) -> list[tuple[np.dtype[np.generic], int, int, bool]]:
    """Return of each quantized weight: type, output channels, number of scales, whether all zero points are zero."""
    constants = arrays(content)
    found = [
        (name.removesuffix("_quantized"), value) for name, value in constants.items() if name.endswith("_quantized")
    ]
    return [
        (value.dtype, value.shape[0], constants[f"{name}_scale"].size, not constants[f"{name}_zero_point"].any())
        for name, value in found
        if value.ndim > 1
    ]


def snr_db(content: bytes, module: nn.Module, target: Target, splits: Splits) -> float:
    """Return signal to noise of ONNX Runtime's answers, without saturation where the target has none."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1" if target.machine == "aarch64" else "0")
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answers = session.run(["logits"], {"input": splits.preprocess.apply(splits.evaluation.array())})[0]
    return compare(answers, logits(module, splits.evaluation, splits.preprocess).numpy()).snr_db


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_static_file_answers_as_the_network_does_and_is_small(
    target: Target, static: Mapping[str, bytes], fp32: bytes, trained: nn.Module, few_splits: Splits
) -> None:
    content = static[target.name]

    assert snr_db(content, trained, target, few_splits) >= 20
    assert len(content) <= 0.30 * len(fp32)


def test_activations_are_unsigned_on_x86_and_signed_on_arm(static: Mapping[str, bytes]) -> None:
    on_x86, on_arm = activations(static["x86"]), activations(static["arm-qnnpack"])

    assert {dtype for dtype, _ in on_x86} == {np.dtype(np.uint8)}
    assert {zero_point for _, zero_point in on_x86} > {0}
    assert {dtype for dtype, _ in on_arm} == {np.dtype(np.int8)}
    assert len(on_x86) == len(on_arm) >= 6


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_every_relu_is_folded_into_a_range(target: Target, static: Mapping[str, bytes]) -> None:
    assert "Relu" not in {node.op_type for node in onnx.load_from_string(static[target.name]).graph.node}


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_weights_are_signed_and_symmetric_with_a_scale_for_each_channel(
    target: Target, static: Mapping[str, bytes]
) -> None:
    assert sorted(weights(static[target.name]), key=lambda weight: weight[1]) == [
        (np.dtype(np.int8), channels, channels, True) for channels in (4, 32, 64, 512)
    ]


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_a_target_may_ask_for_one_scale_for_a_whole_weight(
    target: Target, fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_int8.static(fp32, replace(target, per_channel=False), calibration, STRIDE)

    assert {scales for _, _, scales, _ in weights(content)} == {1}
    assert snr_db(content, trained, target, few_splits) >= 20


def test_a_target_may_ask_for_unsigned_weights(
    fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_int8.static(fp32, replace(X86, weight_type="uint8", per_channel=False), calibration, STRIDE)

    assert {dtype for dtype, *_ in weights(content)} == {np.dtype(np.uint8)}
    assert snr_db(content, trained, X86, few_splits) >= 20


def test_ranges_are_those_of_the_calibration_samples_as_the_network_sees_them(
    static: Mapping[str, bytes], few_splits: Splits
) -> None:
    seen = few_splits.preprocess.apply(few_splits.calibration.array())
    on_x86, on_arm = arrays(static["x86"]), arrays(static["arm-qnnpack"])

    step = (seen.max() - seen.min()) / 255
    assert float(on_x86["input_scale"]) == pytest.approx(step, rel=1e-6)
    assert int(on_x86["input_zero_point"]) == round(float(-seen.min() / step))
    assert float(on_arm["input_scale"]) == pytest.approx(step, rel=1e-6)
    assert int(on_arm["input_zero_point"]) == int(on_x86["input_zero_point"]) - 128


@pytest.mark.parametrize(("size", "batches"), [(STRIDE, [32, 32, 6]), (1, [1] * 70)])
def test_calibration_sees_every_sample_once_in_strides_and_holds_none(
    size: int, batches: list[int], fp32: bytes, few_splits: Splits
) -> None:
    progress = RecordingProgress()
    watched = WatchedCalibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=progress)
    onnx_int8.static(fp32, X86, watched, size)

    assert [len(batch) for batch in watched.batches_seen] == batches
    expected = few_splits.preprocess.apply(few_splits.calibration.array())
    assert np.array_equal(np.concatenate(watched.batches_seen), expected)
    assert progress.tasks == [("calibrate onnx", 70, 70)]
    assert max(watched.held) <= 1


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_dynamic_file_has_int8_linear_layers_and_answers_as_the_network_does(
    target: Target, fp32: bytes, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_int8.dynamic(fp32, target)
    operators = [node.op_type for node in onnx.load_from_string(content).graph.node]

    assert (operators.count("MatMulInteger"), operators.count("Conv"), operators.count("ConvInteger")) == (2, 2, 0)
    assert snr_db(content, trained, target, few_splits) >= 20
    assert len(content) <= 0.30 * len(fp32)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_scales_of_dynamic_weights_follow_the_target(per_channel: bool, fp32: bytes) -> None:
    constants = arrays(onnx_int8.dynamic(fp32, replace(X86, per_channel=per_channel)))

    scales = {name: value.size for name, value in constants.items() if name.endswith("weight_scale")}
    assert scales == {"hidden.weight_scale": 512 if per_channel else 1, "linear.weight_scale": 4 if per_channel else 1}


def test_a_network_without_a_linear_layer_has_no_dynamic_file() -> None:
    content = onnx_export.export(modules.Convolutional().eval(), torch.zeros(1, 1, 28, 28), 20).content
    with pytest.raises(StepError) as caught:
        onnx_int8.dynamic(content, X86)

    assert str(caught.value) == (
        "the network has no linear layer, and dynamic quantization takes no other\n  try: --quantize static"
    )


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_shortcuts_reused_layers_and_single_pixels_are_borne(
    target: Target, kind: type[nn.Module], calibration: Calibration, few_splits: Splits
) -> None:
    torch.manual_seed(0)
    module = modules.settled(kind(), torch.from_numpy(next(calibration.batches("", 70))))
    content = onnx_export.export(module, torch.from_numpy(next(calibration.batches("", 1))), 20).content

    assert snr_db(onnx_int8.static(content, target, calibration, STRIDE), module, target, few_splits) >= 20


def test_the_same_samples_give_the_same_bytes(
    static: Mapping[str, bytes], fp32: bytes, calibration: Calibration
) -> None:
    assert onnx_int8.static(fp32, X86, calibration, STRIDE) == static["x86"]
    assert static["x86"] != static["arm-qnnpack"]


def test_nothing_is_printed_and_no_notes_are_left(
    fp32: bytes, calibration: Calibration, capfd: pytest.CaptureFixture[str]
) -> None:
    for content in (onnx_int8.static(fp32, ARM, calibration, STRIDE), onnx_int8.dynamic(fp32, ARM)):
        model = onnx.load_from_string(content)
        assert [list(model.metadata_props), model.doc_string] == [[], ""]
        assert b"edgepack-" not in content  # the folder in which it was made

    assert capfd.readouterr() == ("", "")
