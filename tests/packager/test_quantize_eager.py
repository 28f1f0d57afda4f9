"""Static int8 in eager mode: stubs, fusing and arithmetic are put in by the tool, whatever the network."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.ao.nn import quantized as integer
from torch.ao.nn.intrinsic import quantized as fused
from torch.nn import functional

import models
import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import torchscript
from packager.prune import Evidence, Stage, channels
from packager.quantize import Order, eager, fx
from packager.quantize.calibration import Calibration
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from runner.runtimes import Options
from runner.runtimes import torchscript as runtime
from tests import modules

X86, QNNPACK = targets.load("x86"), targets.load("arm-qnnpack")
TARGETS, NAMES = [X86, QNNPACK], ["x86", "arm-qnnpack"]


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    """Start from an engine that no target here asks for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


@pytest.fixture
def order(few_splits: Splits) -> Order:
    """An order for the target x86, with sixteen samples."""
    samples = few_splits.calibration.subset(np.arange(16))
    calibration = Calibration(samples=samples, preprocess=few_splits.preprocess, progress=Silent())
    return Order(target=X86, plan=recipe.Quantize(), calibration=calibration)


def images(order: Order) -> Tensor:
    """Return the samples as the network sees them."""
    return torch.from_numpy(order.calibration.preprocess.apply(order.calibration.samples.array()))


def settled(module: nn.Module, order: Order) -> nn.Module:
    """Return the network in eval mode, with the batch-norm statistics of the samples."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.88  # as much as twenty batches change by the usual tenth
            layer.reset_running_stats()
    module.train()
    with torch.no_grad():
        module(images(order))
    return module.eval()


def built(name: str, order: Order) -> nn.Module:
    """Return a network with random weights."""
    torch.manual_seed(0)
    return settled(models.build(name, 1, 4, 28, 28), order)


def snr_db(quantized: nn.Module, module: nn.Module, order: Order, folder: Path) -> float:
    """Return signal to noise of the answers that the runner gets from the int8 network's file."""
    (folder / "int8.pt").write_bytes(torchscript.export(quantized, images(order)[:1]).content)
    torch.backends.quantized.engine = "fbgemm"
    answers = runtime.load(folder / "int8.pt", Options(threads=1, engine=order.target.engine)).run(
        images(order).numpy()
    )
    expected = logits(module, order.calibration.samples, order.calibration.preprocess).numpy()
    return compare(answers, expected).snr_db


def in_fp32(quantized: nn.Module) -> set[str]:
    """Return the names of the convolutions and linear layers that are not in int8."""
    return {name for name, layer in quantized.named_modules() if type(layer) in (nn.Conv2d, nn.Linear)}


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize("name", ["small_cnn", "wide_cnn", "resnet8", "mobilenet_v2"])
def test_the_networks_of_the_zoo_answer_as_in_fp32_and_as_well_as_by_fx(
    name: str, target: Target, order: Order, tmp_path: Path
) -> None:
    module, asked = built(name, order), replace(order, target=target)
    quantized = eager.quantize(module, asked)

    found = snr_db(quantized, module, asked, tmp_path)
    assert in_fp32(quantized) == set()
    assert found >= 20
    assert found >= snr_db(fx.quantize(module, asked), module, asked, tmp_path) - 1.0


@pytest.fixture(scope="module")
def resnet18() -> nn.Module:
    """A network with random weights, which takes its time."""
    torch.manual_seed(0)
    return models.build("resnet18", 1, 4, 28, 28)


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_a_large_network_answers_as_in_fp32(target: Target, resnet18: nn.Module, order: Order, tmp_path: Path) -> None:
    module, asked = settled(resnet18, order), replace(order, target=target)
    quantized = eager.quantize(module, asked)

    assert in_fp32(quantized) == set()
    assert snr_db(quantized, module, asked, tmp_path) >= 20


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2"])
def test_networks_with_fewer_channels_do_as_well(name: str, target: Target, order: Order, tmp_path: Path) -> None:
    module, asked = built(name, order), replace(order, target=target)
    evidence = Evidence(example=images(order)[:1], batches=lambda: iter(()), seed=0)
    plan = recipe.Prune(method="channels", amount=0.5, round_to=4)
    pruned = settled(channels.prune(module, plan, Stage(before=0.0, amount=0.5), evidence).module, order)
    quantized = eager.quantize(pruned, asked)

    assert sum(each.numel() for each in pruned.parameters()) < 0.5 * sum(each.numel() for each in module.parameters())
    assert in_fp32(quantized) == set()
    assert snr_db(quantized, pruned, asked, tmp_path) >= 20


def test_a_trained_network_becomes_a_quarter_of_its_size(trained: nn.Module, order: Order, tmp_path: Path) -> None:
    quantized = eager.quantize(trained, order)
    content = torchscript.export(quantized, images(order)[:1]).content

    assert snr_db(quantized, trained, order, tmp_path) >= 20
    assert len(content) <= 0.27 * sum(4 * value.numel() for value in trained.parameters())


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_shortcuts_reused_layers_and_single_pixels_are_borne(
    target: Target, kind: type[nn.Module], order: Order, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, asked = settled(kind(), order), replace(order, target=target)

    assert snr_db(eager.quantize(module, asked), module, asked, tmp_path) >= 20


class Functional(nn.Module):
    """Uses functions and operators where others use modules, some of which have no integer kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.gate = nn.Conv2d(8, 8, 1)
        self.layer_norm = nn.LayerNorm(16)
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = functional.relu(self.norm1(self.conv1(x)))
        y = functional.silu(self.conv2(x))
        y = (y + x).relu() * torch.sigmoid(self.gate(functional.adaptive_avg_pool2d(x, 1)))
        z = torch.cat([functional.max_pool2d(x, 2), functional.dropout(y, 0.5, self.training)[:, :, ::2, ::2]], 1)
        z = self.layer_norm(z.mean([2, 3])) * 2
        logits: Tensor = self.linear(z.view(x.shape[0], -1) + 1)
        return logits


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_functions_are_quantized_where_there_are_integer_kernels_and_stay_in_fp32_elsewhere(
    target: Target, order: Order, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module, asked = settled(Functional(), order), replace(order, target=target)
    quantized = eager.quantize(module, asked)

    kinds = [type(layer) for layer in quantized.modules()]
    assert in_fp32(quantized) == set()
    assert kinds.count(integer.QFunctional) == 3  # of +, * and cat
    assert kinds.count(integer.Quantize) == 3  # of the input, of silu's result, and of the last sum
    assert kinds.count(fused.ConvReLU2d) == 1
    assert nn.LayerNorm in kinds
    assert snr_db(quantized, module, asked, tmp_path) >= 20


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize(("pattern", "expected"), [("stack2", 3), ("stack2.conv1", 1), ("linear", 1), ("*.conv?", 6)])
def test_layers_that_the_recipe_keeps_stay_in_fp32(
    pattern: str, expected: int, target: Target, order: Order, tmp_path: Path
) -> None:
    module = built("resnet8", order)
    asked = replace(order, target=target, plan=recipe.Quantize(keep_fp32=(pattern,)))
    quantized = eager.quantize(module, asked)

    assert len(in_fp32(quantized)) == expected
    assert snr_db(quantized, module, asked, tmp_path) >= 20


def test_a_pattern_that_names_no_layer_is_told(trained: nn.Module, order: Order) -> None:
    with pytest.raises(StepError) as caught:
        eager.quantize(trained, replace(order, plan=recipe.Quantize(keep_fp32=("hiden",))))

    assert str(caught.value) == "keep_fp32: 'hiden' names no layer of the network\n  try: did you mean 'hidden'?"


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_scales_of_weights_follow_the_order(
    target: Target, per_channel: bool, trained: nn.Module, order: Order
) -> None:
    plan = recipe.Quantize(per_channel=per_channel)
    quantized = eager.quantize(trained, replace(order, target=target, plan=plan))

    scheme = torch.per_channel_affine if per_channel else torch.per_tensor_affine
    weights = [quantized.get_submodule(name).weight() for name in ("conv1", "conv2", "hidden", "linear")]  # type: ignore[operator]  # of quantized layers, a method
    assert {(weight.qscheme(), weight.dtype) for weight in weights} == {(scheme, torch.qint8)}


@pytest.mark.parametrize("ranges", ["entropy", "percentile"])
def test_ranges_are_those_of_the_recipe(
    ranges: recipe.Ranges, trained: nn.Module, order: Order, tmp_path: Path
) -> None:
    asked = replace(order, target=QNNPACK, plan=recipe.Quantize(ranges=ranges))
    ours, theirs = eager.quantize(trained, asked), fx.quantize(trained, asked)

    assert snr_db(ours, trained, asked, tmp_path) >= 20
    for name in ("conv1", "conv2", "hidden", "linear"):
        assert ours.get_submodule(name).scale == pytest.approx(theirs.get_submodule(name).scale, rel=0.05)


class Swish(nn.Module):
    """Has nothing that eager mode exchanges."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 784."""
        return torch.flatten(functional.silu(x), 1)


def test_a_network_without_a_layer_that_eager_mode_takes_is_refused(order: Order) -> None:
    with pytest.raises(StepError) as caught:
        eager.quantize(Swish().eval(), order)

    assert str(caught.value) == (
        'the network has no layer that eager mode quantizes\n  try: `torch = "fx"` in the recipe\'s [quantize]'
    )


class Averaged(nn.Module):
    """Asks for a mean in a type that integers cannot be averaged in."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        mean: Tensor = self.conv(x).mean([2, 3], dtype=torch.float32)
        return mean


def test_an_operation_without_an_integer_kernel_is_told_with_the_way_out(order: Order) -> None:
    with pytest.raises(StepError) as caught:
        eager.quantize(Averaged().eval(), order)

    what, advice = str(caught.value).split("\n  try: ")
    assert what.startswith("the network cannot be quantized in eager mode: RuntimeError: ScalarType Float ")
    assert advice == '`torch = "fx"` in the recipe\'s [quantize]'


def test_a_layer_that_cannot_be_traced_is_named(order: Order) -> None:
    with pytest.raises(StepError, match=r"the network cannot be quantized, in block\.gate \(Gate\): TraceError"):
        eager.quantize(modules.Gated().eval(), order)


def test_the_network_is_left_as_it_was_and_nothing_is_printed(
    trained: nn.Module, order: Order, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    eager.quantize(trained, order)

    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert type(trained.get_submodule("conv1")) is nn.Conv2d
    assert capfd.readouterr() == ("", "")
