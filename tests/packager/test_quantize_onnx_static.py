"""Static int8 ONNX files: their integer types, their ranges, and what ONNX Runtime answers with them."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, onnx_static
from packager.quantize.calibration import AT_ONCE_BYTES, STRIDE, Calibration, stride
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from tests import modules
from tests.fakes import RecordingProgress
from tests.onnx_files import arrays, operators, run, snr_db
from tests.watched import WatchedCalibration

X86, ARM = TARGETS = targets.load("x86"), targets.load("arm-qnnpack")
NAMES = [target.name for target in TARGETS]


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
    return {target.name: onnx_static.quantize(fp32, order(calibration, target)) for target in TARGETS}


def order(calibration: Calibration, target: Target = X86, plan: recipe.Quantize | None = None) -> Order:
    return Order(target=target, plan=plan or recipe.Quantize(), calibration=calibration)


def activations(content: bytes) -> list[tuple[np.dtype[np.generic], int]]:
    """Return type and value of the zero point of each quantized activation."""
    constants = arrays(content)
    nodes = [node for node in onnx.load_from_string(content).graph.node if node.op_type == "QuantizeLinear"]
    return [(constants[node.input[2]].dtype, int(constants[node.input[2]])) for node in nodes]


def scales(content: bytes) -> Mapping[str, float]:
    """Return the scale of each activation."""
    return {
        name.removesuffix("_scale"): float(value)
        for name, value in arrays(content).items()
        if name.endswith("_scale") and "weight" not in name and "bias" not in name
    }


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


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_static_file_answers_as_the_network_does_and_is_small(
    target: Target, static: Mapping[str, bytes], fp32: bytes, trained: nn.Module, few_splits: Splits
) -> None:
    content = static[target.name]

    assert snr_db(content, trained, few_splits, target) >= 20
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
    content = onnx_static.quantize(fp32, order(calibration, replace(target, per_channel=False)))

    assert {count for _, _, count, _ in weights(content)} == {1}
    assert snr_db(content, trained, few_splits, target) >= 20


def test_a_target_may_ask_for_unsigned_weights(
    fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_static.quantize(fp32, order(calibration, replace(X86, weight_type="uint8", per_channel=False)))

    assert {dtype for dtype, *_ in weights(content)} == {np.dtype(np.uint8)}
    assert snr_db(content, trained, few_splits) >= 20


def test_a_target_without_vnni_has_weights_of_seven_bits(
    fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_static.quantize(fp32, order(calibration, targets.load("x86-avx2")))

    integers = [each.astype(np.int32) for each in arrays(content).values() if each.dtype == np.int8 and each.ndim > 1]
    assert max(int(abs(each).max()) for each in integers) == 64
    assert snr_db(content, trained, few_splits) >= 20


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


@pytest.mark.parametrize(("dynamic_batch", "batches"), [(True, [32, 32, 6]), (False, [1] * 70)])
def test_calibration_sees_every_sample_once_in_strides_and_holds_none(
    dynamic_batch: bool, batches: list[int], fp32: bytes, few_splits: Splits
) -> None:
    progress = RecordingProgress()
    watched = WatchedCalibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=progress)
    onnx_static.quantize(fp32, order(watched), dynamic_batch=dynamic_batch)

    assert [len(batch) for batch in watched.batches_seen] == batches
    expected = few_splits.preprocess.apply(few_splits.calibration.array())
    assert np.array_equal(np.concatenate(watched.batches_seen), expected)
    assert progress.tasks == [("calibrate onnx", 70, 70)]
    assert max(watched.held) <= 1


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_shortcuts_reused_layers_and_single_pixels_are_borne(
    target: Target, kind: type[nn.Module], calibration: Calibration, few_splits: Splits
) -> None:
    torch.manual_seed(0)
    module = modules.settled(kind(), torch.from_numpy(next(calibration.batches("", 70))))
    content = onnx_export.export(module, torch.from_numpy(next(calibration.batches("", 1))), 20).content

    assert snr_db(onnx_static.quantize(content, order(calibration, target)), module, few_splits, target) >= 20


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_layers_with_equal_weights_run_in_exact_int8_too(
    target: Target, calibration: Calibration, few_splits: Splits
) -> None:
    torch.manual_seed(0)
    module = modules.Normalized().eval()
    example = torch.from_numpy(next(calibration.batches("", 1)))
    exported = onnx_export.export(module, example, 20).content
    ones = [name for name, array in arrays(exported).items() if array.shape == (16,) and (array == 1).all()]

    content = onnx_static.quantize(exported, order(calibration, target))

    assert len(ones) == 1
    assert snr_db(content, module, few_splits, target) >= 20
    weights = [
        node.input[0]
        for node in onnx.load_from_string(content).graph.node
        if node.op_type == "DequantizeLinear" and node.input[0].startswith(ones[0])
    ]
    assert len(set(weights)) == len(weights)


def test_the_same_samples_give_the_same_bytes(
    static: Mapping[str, bytes], fp32: bytes, calibration: Calibration
) -> None:
    assert onnx_static.quantize(fp32, order(calibration)) == static["x86"]
    assert static["x86"] != static["arm-qnnpack"]


def test_nothing_is_printed_and_no_notes_are_left(
    fp32: bytes, calibration: Calibration, capfd: pytest.CaptureFixture[str]
) -> None:
    content = onnx_static.quantize(fp32, order(calibration, ARM))
    model = onnx.load_from_string(content)
    assert [list(model.metadata_props), model.doc_string] == [[], ""]
    assert b"edgepack-" not in content  # the folder in which it was made

    assert capfd.readouterr() == ("", "")


def test_symmetric_activations_have_their_zero_in_the_middle(fp32: bytes, calibration: Calibration) -> None:
    plan = recipe.Quantize(symmetric=True)

    on_x86 = onnx_static.quantize(fp32, order(calibration, X86, plan))
    on_arm = onnx_static.quantize(fp32, order(calibration, ARM, plan))
    assert {zero_point for _, zero_point in activations(on_x86)} == {128}
    assert {zero_point for _, zero_point in activations(on_arm)} == {0}


@pytest.mark.parametrize("per_channel", [True, False])
def test_integer_operators_answer_as_those_between_conversions_do(
    per_channel: bool, fp32: bytes, calibration: Calibration, few_splits: Splits
) -> None:
    plan = recipe.Quantize(operators="qoperator", per_channel=per_channel)
    integer = onnx_static.quantize(fp32, order(calibration, X86, plan))
    converted = onnx_static.quantize(fp32, order(calibration, X86, replace(plan, operators="qdq")))

    found = operators(integer)
    assert (found.count("QLinearConv"), found.count("QGemm"), found.count("Conv"), found.count("Gemm")) == (2, 2, 0, 0)
    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    assert compare(run(integer, inputs, ARM), run(converted, inputs, ARM)).snr_db > 40
    assert {count > 1 for _, _, count, _ in weights(integer)} == {per_channel}


def test_integer_operators_with_signed_activations_are_refused(fp32: bytes, calibration: Calibration) -> None:
    with pytest.raises(StepError) as caught:
        onnx_static.quantize(fp32, order(calibration, ARM, recipe.Quantize(operators="qoperator")))

    assert str(caught.value) == (
        "arm-qnnpack: ONNX Runtime cannot run QOperator files with signed activations on x86 without saturation\n"
        '  try: operators = "qdq" in the recipe\'s [quantize]'
    )


@pytest.mark.parametrize("method", ["moving-average", "entropy", "percentile", "mse"])
def test_every_way_to_choose_ranges_makes_a_file_that_answers_as_the_network_does(
    method: recipe.Ranges,
    fp32: bytes,
    calibration: Calibration,
    static: Mapping[str, bytes],
    trained: nn.Module,
    few_splits: Splits,
) -> None:
    content = onnx_static.quantize(fp32, order(calibration, X86, recipe.Quantize(ranges=method)))

    assert snr_db(content, trained, few_splits) >= 20
    by_ends, by_method = scales(static["x86"]), scales(content)
    assert len(by_ends) == 5
    assert min(by_method[name] / scale for name, scale in by_ends.items()) < 0.999
    assert max(by_method[name] / scale for name, scale in by_ends.items()) < 1.001


def test_the_percentile_is_the_recipes(fp32: bytes, calibration: Calibration, few_splits: Splits) -> None:
    plan = recipe.Quantize(ranges="percentile", percentile=98.0)
    content = onnx_static.quantize(fp32, order(calibration, X86, plan))

    seen = few_splits.preprocess.apply(few_splits.calibration.array())
    low, high = np.percentile(seen, [1, 99])
    step = float(seen.max() - seen.min()) / 2048
    assert scales(content)["input"] * 255 == pytest.approx(high - low, abs=2 * step)


def test_a_histogram_sees_every_sample_twice(fp32: bytes, few_splits: Splits) -> None:
    progress = RecordingProgress()
    calibration = Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=progress)
    onnx_static.quantize(fp32, order(calibration, X86, recipe.Quantize(ranges="mse")))

    assert progress.tasks == [("calibrate onnx", 70, 70), ("calibrate onnx, a second time", 70, 70)]


def test_a_layer_is_left_in_fp32_by_the_name_that_the_network_has_for_it(
    fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_static.quantize(fp32, order(calibration, X86, recipe.Quantize(keep_fp32=("conv?", "hid*"))))

    constants = arrays(content)
    assert {name for name in constants if name.endswith("weight_quantized")} == {"linear.weight_quantized"}
    assert {"conv1.weight", "conv2.weight", "hidden.weight"} <= constants.keys()
    assert snr_db(content, trained, few_splits) >= 20


def test_a_pattern_that_names_no_layer_is_refused_with_a_name_that_is_near(
    fp32: bytes, calibration: Calibration
) -> None:
    with pytest.raises(StepError) as caught:
        onnx_static.quantize(fp32, order(calibration, X86, recipe.Quantize(keep_fp32=("conv1", "hiden"))))

    assert str(caught.value) == ("keep_fp32: 'hiden' names no layer of the network\n  try: did you mean 'hidden'?")


def test_patterns_that_leave_nothing_to_quantize_are_refused(fp32: bytes, calibration: Calibration) -> None:
    with pytest.raises(StepError, match="every layer stays in fp32"):
        onnx_static.quantize(fp32, order(calibration, X86, recipe.Quantize(keep_fp32=("*",))))


@pytest.mark.parametrize(("sample_bytes", "samples"), [(1, STRIDE), (AT_ONCE_BYTES // 8, 8), (AT_ONCE_BYTES * 3, 1)])
def test_the_larger_the_activations_the_fewer_samples_are_looked_at_together(sample_bytes: int, samples: int) -> None:
    assert stride(sample_bytes) == samples


class Exploding(nn.Module):
    """What it computes is more than float32 holds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 28)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4, all of them infinite."""
        return torch.flatten(self.conv(x.abs() + 1) * 3e38 * 3e38, 1)


def test_values_that_are_not_finite_are_told_with_the_tensor(calibration: Calibration) -> None:
    content = onnx_export.export(Exploding().eval(), torch.from_numpy(calibration.example()), 20).content
    with pytest.raises(StepError) as caught:
        onnx_static.quantize(content, order(calibration))

    assert caught.value.where.startswith("tensor '")
    assert "not all finite" in str(caught.value)
