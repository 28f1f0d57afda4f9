"""Dynamic int8 networks of PyTorch: linear and recurrent layers, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn.quantized import dynamic

import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import torchscript
from packager.quantize import Order, torch_dynamic
from packager.quantize.calibration import Calibration
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from runner.runtimes import Options
from runner.runtimes import torchscript as runtime
from tests import modules

TARGETS = [targets.load("x86"), targets.load("arm-qnnpack")]
NAMES = [target.name for target in TARGETS]


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    """Start from an engine that no target here asks for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


@pytest.fixture
def order(few_splits: Splits) -> Order:
    """An order for the target x86."""
    calibration = Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())
    return Order(target=TARGETS[0], plan=recipe.Quantize(method="dynamic"), calibration=calibration)


class Recurrent(nn.Module):
    """Reads an image row by row, with a layer that loops by itself."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU]) -> None:
        super().__init__()
        self.rows = kind(28, 32, batch_first=True)
        self.out = nn.Conv1d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        return torch.flatten(self.out(self.rows(x[:, 0])[0][:, -1, :, None]), 1)


class RowByRow(nn.Module):
    """Reads an image row by row, with a cell that is called for each."""

    def __init__(self, kind: type[nn.LSTMCell | nn.GRUCell | nn.RNNCell]) -> None:
        super().__init__()
        self.rows = kind(28, 32)
        self.out = nn.Conv1d(32, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        state = None
        for row in x[:, 0].unbind(1):
            state = self.rows(row, state)
        last = state[0] if isinstance(state, tuple) else state
        assert last is not None
        return torch.flatten(self.out(last[:, :, None]), 1)


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_recurrent_layers_print_nothing(target: Target, order: Order, capfd: pytest.CaptureFixture[str]) -> None:
    # Before the others: PyTorch says it once in a process.
    quantized = torch_dynamic.quantize(Recurrent(nn.LSTM).eval(), replace(order, target=target))
    with torch.no_grad():
        quantized(torch.zeros(1, 1, 28, 28))

    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize(
    ("network", "kind"),
    [
        (Recurrent, nn.LSTM),
        (Recurrent, nn.GRU),
        (RowByRow, nn.LSTMCell),
        (RowByRow, nn.GRUCell),
        (RowByRow, nn.RNNCell),
    ],
)
def test_recurrent_layers_become_int8_and_answer_as_they_did(
    network: type[nn.Module], kind: type[nn.Module], target: Target, per_channel: bool, order: Order, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = network(kind).eval()
    calibration = order.calibration
    plan = recipe.Quantize(method="dynamic", per_channel=per_channel)
    quantized = torch_dynamic.quantize(module, replace(order, target=target, plan=plan))
    inputs = calibration.preprocess.apply(calibration.samples.array())
    (tmp_path / "int8.pt").write_bytes(torchscript.export(quantized, torch.from_numpy(inputs[:1])).content)
    answers = runtime.load(tmp_path / "int8.pt", Options(threads=1, engine=target.engine)).run(inputs)

    assert type(quantized.get_submodule("rows")) is getattr(dynamic, kind.__name__)
    expected = logits(module, calibration.samples, calibration.preprocess).numpy()
    assert 20 <= compare(answers, expected).snr_db < 60


def test_a_recurrent_layer_that_pytorch_does_not_take_is_refused_in_words(order: Order) -> None:
    module = nn.Sequential(nn.LSTM(28, 32, bias=False))
    with pytest.raises(StepError) as caught:
        torch_dynamic.quantize(module, order)

    assert str(caught.value) == (
        "PyTorch's dynamic quantization does not take a layer: mod.bias must be True\n"
        "  try: --quantize static, or its name in `keep_fp32`"
    )


def test_layers_that_the_recipe_keeps_stay_in_fp32(trained: nn.Module, order: Order) -> None:
    plan = recipe.Quantize(method="dynamic", keep_fp32=("hid*",))
    quantized = torch_dynamic.quantize(trained, replace(order, plan=plan))

    assert type(quantized.get_submodule("hidden")) is nn.Linear
    assert type(quantized.get_submodule("linear")) is dynamic.Linear


def test_a_pattern_that_names_no_layer_is_told(trained: nn.Module, order: Order) -> None:
    with pytest.raises(StepError) as caught:
        torch_dynamic.quantize(trained, replace(order, plan=recipe.Quantize(keep_fp32=("hiden",))))

    assert str(caught.value) == "keep_fp32: 'hiden' names no layer of the network\n  try: did you mean 'hidden'?"


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_linear_layers_become_int8_and_convolutions_stay(target: Target, trained: nn.Module, order: Order) -> None:
    quantized = torch_dynamic.quantize(trained, replace(order, target=target))

    kinds = {name: type(quantized.get_submodule(name)) for name in ("conv1", "norm1", "conv2", "hidden", "linear")}
    assert kinds == {
        "conv1": nn.Conv2d,
        "norm1": nn.BatchNorm2d,
        "conv2": nn.Conv2d,
        "hidden": dynamic.Linear,
        "linear": dynamic.Linear,
    }
    assert type(trained.get_submodule("hidden")) is nn.Linear


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_file_answers_as_the_network_does_and_prints_nothing(
    target: Target,
    trained: nn.Module,
    order: Order,
    few_splits: Splits,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    exported = torchscript.export(
        torch_dynamic.quantize(trained, replace(order, target=target)), torch.from_numpy(inputs[:1])
    )
    (tmp_path / "int8.pt").write_bytes(exported.content)
    torch.backends.quantized.engine = "fbgemm"
    answers = runtime.load(tmp_path / "int8.pt", Options(threads=1, engine=target.engine)).run(inputs)

    expected = logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()
    assert exported.dynamic_batch
    assert compare(answers, expected).snr_db >= 20
    assert len(exported.content) <= 0.30 * sum(4 * value.numel() for value in trained.parameters())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_scales_of_weights_follow_the_target(
    target: Target, per_channel: bool, trained: nn.Module, order: Order
) -> None:
    quantized = torch_dynamic.quantize(trained, replace(order, target=replace(target, per_channel=per_channel)))

    scheme = torch.per_channel_affine if per_channel else torch.per_tensor_affine
    weights = [quantized.get_submodule(name).weight() for name in ("hidden", "linear")]  # type: ignore[operator]  # of quantized layers, a method
    assert [(weight.qscheme(), weight.dtype) for weight in weights] == [(scheme, torch.qint8)] * 2


class OwnLinear(nn.Linear):
    """A linear layer of the user's own, which PyTorch does not quantize."""


@pytest.mark.parametrize("module", [modules.Convolutional(), nn.Sequential(nn.Flatten(), OwnLinear(784, 4))])
def test_a_network_without_a_linear_layer_is_refused_in_words(module: nn.Module, order: Order) -> None:
    with pytest.raises(StepError) as caught:
        torch_dynamic.quantize(module.eval(), order)

    assert str(caught.value) == (
        "PyTorch's dynamic quantization takes linear and recurrent layers, and the network has none\n"
        "  try: --quantize static"
    )
