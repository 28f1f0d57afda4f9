"""Static int8 by PT2E: networks of PyTorch become ONNX files that are integers throughout."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

import models
import targets
from packager import recipe
from packager.check import Logits, compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, pt2e
from packager.quantize.calibration import Calibration
from packager.train import logits
from runner.errors import StepError
from runner.progress import Silent
from tests import modules
from tests.depthwise import Mobile
from tests.watched import WatchedCalibration

X86, ARM = targets.load("x86"), targets.load("arm-qnnpack")


@pytest.fixture(scope="module")
def calibration(few_splits: Splits) -> Calibration:
    """The calibration samples, 70 of them."""
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


@pytest.fixture(scope="module")
def file(trained: nn.Module, calibration: Calibration) -> bytes:
    """The trained network in int8."""
    return exported(trained, order(calibration))


def order(calibration: Calibration, plan: recipe.Quantize | None = None) -> Order:
    """Return what is asked for."""
    return Order(target=X86, plan=plan or recipe.Quantize(onnx="pt2e"), calibration=calibration)


def example(calibration: Calibration) -> Tensor:
    """Return one sample as the network sees it."""
    return torch.from_numpy(calibration.example())


def settled(module: nn.Module, calibration: Calibration) -> nn.Module:
    """Return the network with the batch-norm statistics of the calibration samples."""
    return modules.settled(module, torch.from_numpy(next(calibration.batches("", 70))))


def exported(module: nn.Module, asked: Order) -> bytes:
    """Return the int8 network as a file."""
    made = pt2e.to_onnx(pt2e.quantize(module, asked), example(asked.calibration), 20)
    assert made.dynamic_batch
    return made.content


def answers(content: bytes, splits: Splits) -> Logits:
    """Return what ONNX Runtime answers to the evaluation samples."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")  # for CPUs whose kernels would saturate
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found: Logits = session.run(["logits"], {"input": splits.preprocess.apply(splits.evaluation.array())})[0]
    return found


def snr_db(content: bytes, module: nn.Module, splits: Splits) -> float:
    """Return signal to noise of a file's answers against the network's own."""
    return compare(answers(content, splits), logits(module, splits.evaluation, splits.preprocess).numpy()).snr_db


def activation_types(content: bytes) -> set[int]:
    """Return the types of integers that activations become."""
    graph = onnx.load_from_string(content).graph
    types = {constant.name: constant.data_type for constant in graph.initializer}
    return {types[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"}


def largest_weight(content: bytes) -> int:
    """Return the largest integer in a weight."""
    constants = [numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer]
    return max(int(each.max()) for each in constants if each.dtype == np.int8)


def optimized(content: bytes, folder: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(folder / "optimized.onnx").graph.node)


def test_the_file_answers_as_the_network_does_and_is_small(
    trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    asked = order(calibration)
    quantized = pt2e.quantize(trained, asked)
    content = pt2e.to_onnx(quantized, example(calibration), 20).content
    fp32 = onnx_export.export(trained, example(calibration), 20).content

    assert snr_db(content, trained, few_splits) >= 25
    assert snr_db(content, quantized, few_splits) >= 40
    assert len(content) <= 0.26 * len(fp32)


@pytest.mark.parametrize(("name", "layers", "sums"), [("resnet8", 9, 3), ("resnet18", 20, 8)])
def test_residual_networks_are_integers_throughout(
    name: str, layers: int, sums: int, calibration: Calibration, few_splits: Splits, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    few = replace(calibration, samples=few_splits.calibration.subset(np.arange(24)))
    module = settled(models.build(name, 1, 4, 28, 28), few)
    content = exported(module, order(few))

    ran = optimized(content, tmp_path)
    assert (ran["QLinearConv"], ran["QLinearAdd"], ran["QGemm"]) == (layers, sums, 1)
    assert not {"Conv", "FusedConv", "Add", "Relu", "Gemm", "MatMul", "ReduceMean"} & ran.keys()
    assert snr_db(content, module, few_splits) >= 20


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel, Mobile])
def test_reused_layers_shortcuts_depthwise_ones_and_single_pixels_are_borne(
    kind: type[nn.Module], calibration: Calibration, few_splits: Splits, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = settled(kind(), calibration)
    content = exported(module, order(calibration))

    assert "Conv" not in optimized(content, tmp_path)
    assert snr_db(content, module, few_splits) >= 20


@pytest.mark.parametrize("ranges", get_args(recipe.Ranges))
def test_every_choice_of_ranges_answers_as_the_fp32_network_does(
    ranges: recipe.Ranges, trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    quantized = pt2e.quantize(trained, order(calibration, recipe.Quantize(ranges=ranges)))

    reference = logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()
    found = compare(logits(quantized, few_splits.evaluation, few_splits.preprocess).numpy(), reference)
    assert found.snr_db >= 20


@pytest.mark.parametrize("per_channel", [True, False])
def test_weights_are_int8_and_activations_uint8_with_the_scales_that_the_recipe_says(
    per_channel: bool, trained: nn.Module, calibration: Calibration
) -> None:
    plan = recipe.Quantize(per_channel=per_channel)
    graph = onnx.load_from_string(exported(trained, order(calibration, plan))).graph

    constants = {constant.name: constant for constant in graph.initializer}
    weights = [
        (constants[node.input[0]], constants[node.input[1]])
        for node in graph.node
        if node.op_type == "DequantizeLinear" and len(getattr(constants.get(node.input[0]), "dims", ())) > 1
    ]
    assert {weight.data_type for weight, _ in weights} == {TensorProto.INT8}
    assert [list(scale.dims) == [weight.dims[0]] for weight, scale in weights] == [per_channel] * 4
    zero_points = [constants[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert {each.data_type for each in zero_points} == {TensorProto.UINT8}


def test_weights_have_seven_bits_where_the_target_takes_one_less(
    file: bytes, trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    reduced = exported(trained, replace(order(calibration), target=targets.load("x86-avx2")))

    assert [largest_weight(content) for content in (file, reduced)] == [127, 63]
    assert snr_db(reduced, trained, few_splits) >= 20


@pytest.mark.parametrize(("pattern", "left"), [("conv1", "conv1"), ("lin*", "linear")])
def test_layers_that_the_recipe_keeps_stay_in_fp32(
    pattern: str, left: str, trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    content = exported(trained, order(calibration, recipe.Quantize(keep_fp32=(pattern,))))

    constants = {each.name: each for each in onnx.load_from_string(content).graph.initializer}
    in_fp32 = [name for name, each in constants.items() if each.data_type == TensorProto.FLOAT and len(each.dims) > 1]
    assert in_fp32 == [f"{left}.weight"]
    assert snr_db(content, trained, few_splits) >= 25


def test_calibration_sees_every_sample_in_strides_once_for_each_pass(trained: nn.Module, few_splits: Splits) -> None:
    seen = []
    for ranges in ("min-max", "entropy"):
        watched = WatchedCalibration(
            samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent()
        )
        pt2e.quantize(trained, order(watched, recipe.Quantize(ranges=ranges)))
        seen.append([len(batch) for batch in watched.batches_seen])

    assert seen == [[32, 32, 6], [32, 32, 6] * 2]


def test_the_same_samples_give_the_same_bytes_print_nothing_and_leave_the_network_alone(
    file: bytes, trained: nn.Module, calibration: Calibration, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}

    assert exported(trained, order(calibration)) == file
    assert capfd.readouterr() == ("", "")
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (modules.Gated, "the network cannot be exported, in block.gate (Gate): "),
        (modules.FixedBatch, "the network cannot be exported, in "),
    ],
)
def test_a_network_that_cannot_be_exported_for_any_batch_is_told(
    kind: type[nn.Module], what: str, calibration: Calibration
) -> None:
    with pytest.raises(StepError) as caught:
        pt2e.quantize(kind().eval(), order(calibration))

    assert str(caught.value).startswith(what)
    assert caught.value.advice.endswith('or pack with ONNX Runtime\'s int8: onnx = "onnxruntime"')


@pytest.mark.parametrize("name", ["resnet8", "wide_cnn"])
def test_arm_has_signed_activations_and_integers_throughout(
    name: str, calibration: Calibration, few_splits: Splits
) -> None:
    torch.manual_seed(0)
    module = settled(models.build(name, 1, 4, 28, 28), calibration)
    content = exported(module, replace(order(calibration), target=ARM))

    assert activation_types(content) == {TensorProto.INT8}
    assert snr_db(content, module, few_splits) >= 20


def test_qat_for_arm_reaches_onnx(calibration: Calibration, few_splits: Splits) -> None:
    torch.manual_seed(0)
    module = settled(Mobile(), calibration)
    asked = replace(order(calibration, recipe.Quantize(qat=recipe.Qat())), target=ARM)
    prepared = pt2e.prepare(module, asked)
    content = pt2e.to_onnx(pt2e.convert(prepared, asked), example(calibration), 20).content

    assert activation_types(content) == {TensorProto.INT8}
    assert snr_db(content, prepared, few_splits) >= 30
    assert snr_db(content, module, few_splits) >= 20


def test_larger_batches_are_answered_as_single_samples_are(file: bytes, few_splits: Splits) -> None:
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    images = few_splits.preprocess.apply(few_splits.evaluation.array())[:5]

    together = session.run(None, {"input": images})[0]
    alone = np.concatenate([session.run(None, {"input": image[None]})[0] for image in images])
    assert np.array_equal(together, alone)
