"""Dynamic int8 ONNX files: which layers become integer, and what ONNX Runtime answers with them."""

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
from packager.quantize import Order, onnx_dynamic
from packager.quantize.calibration import Calibration
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from tests import modules
from tests.onnx_files import arrays, operators, run, snr_db

X86, ARM = TARGETS = targets.load("x86"), targets.load("arm-qnnpack")
NAMES = [target.name for target in TARGETS]


@pytest.fixture(scope="module")
def calibration(few_splits: Splits) -> Calibration:
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


@pytest.fixture(scope="module")
def fp32(trained: nn.Module, calibration: Calibration) -> bytes:
    """The trained network as an fp32 file."""
    return onnx_export.export(trained, torch.from_numpy(calibration.example()), 20).content


def order(calibration: Calibration, target: Target = X86, plan: recipe.Quantize | None = None) -> Order:
    return Order(target=target, plan=plan or recipe.Quantize(method="dynamic"), calibration=calibration)


class Recurrent(nn.Module):
    """Reads an image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = nn.LSTM(28, 64, batch_first=True)
        self.linear = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        logits: Tensor = self.linear(self.rows(x.squeeze(1))[0][:, -1])
        return logits


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_file_has_int8_linear_layers_and_answers_as_the_network_does(
    target: Target, fp32: bytes, calibration: Calibration, trained: nn.Module, few_splits: Splits
) -> None:
    content = onnx_dynamic.quantize(fp32, order(calibration, target))
    found = operators(content)

    assert (found.count("MatMulInteger"), found.count("Conv"), found.count("ConvInteger")) == (2, 2, 0)
    assert snr_db(content, trained, few_splits, target) >= 20
    assert len(content) <= 0.30 * len(fp32)


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_scales_of_weights_follow_the_target_or_the_recipe(
    per_channel: bool, fp32: bytes, calibration: Calibration
) -> None:
    target, other = replace(X86, per_channel=per_channel), replace(X86, per_channel=not per_channel)
    plan = recipe.Quantize(method="dynamic", per_channel=per_channel)

    expected = {"hidden.weight_scale": 512 if per_channel else 1, "linear.weight_scale": 4 if per_channel else 1}
    for asked in (order(calibration, target), order(calibration, other, plan)):
        constants = arrays(onnx_dynamic.quantize(fp32, asked))
        assert {name: value.size for name, value in constants.items() if name.endswith("weight_scale")} == expected


def test_a_layer_is_left_in_fp32_by_its_name(fp32: bytes, calibration: Calibration) -> None:
    plan = recipe.Quantize(method="dynamic", keep_fp32=("linear",))
    content = onnx_dynamic.quantize(fp32, order(calibration, X86, plan))

    assert operators(content).count("MatMulInteger") == 1
    assert arrays(content)["linear.weight"].dtype == np.float32


def test_a_pattern_for_a_layer_that_is_never_integer_here_is_refused(fp32: bytes, calibration: Calibration) -> None:
    plan = recipe.Quantize(method="dynamic", keep_fp32=("conv1",))
    with pytest.raises(StepError, match="'conv1' names no layer"):
        onnx_dynamic.quantize(fp32, order(calibration, X86, plan))


def test_recurrent_layers_become_integer_too(calibration: Calibration, few_splits: Splits) -> None:
    torch.manual_seed(0)
    module = Recurrent().eval()
    content = onnx_export.export(module, torch.from_numpy(calibration.example()), 20).content
    quantized = onnx_dynamic.quantize(content, order(calibration))

    assert {"DynamicQuantizeLSTM", "MatMulInteger"} <= set(operators(quantized))
    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    assert compare(run(quantized, inputs), run(content, inputs)).snr_db >= 25


def test_a_network_without_a_linear_layer_has_no_such_file(calibration: Calibration) -> None:
    content = onnx_export.export(modules.Convolutional().eval(), torch.zeros(1, 1, 28, 28), 20).content
    with pytest.raises(StepError) as caught:
        onnx_dynamic.quantize(content, order(calibration))

    assert str(caught.value) == (
        "ONNX Runtime's dynamic quantization takes linear layers and LSTMs, and the network has none\n"
        "  try: --quantize static"
    )


def test_nothing_is_printed_and_no_notes_are_left(
    fp32: bytes, calibration: Calibration, capfd: pytest.CaptureFixture[str]
) -> None:
    content = onnx_dynamic.quantize(fp32, order(calibration, ARM))

    model = onnx.load_from_string(content)
    assert [list(model.metadata_props), model.doc_string] == [[], ""]
    assert b"edgepack-" not in content  # the folder in which it was made
    assert capfd.readouterr() == ("", "")
