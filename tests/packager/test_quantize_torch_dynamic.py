"""Dynamic int8 networks of PyTorch: linear layers, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import dynamic

import targets
from packager.check import compare
from packager.data import Splits
from packager.export import torchscript
from packager.quantize import torch_dynamic
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Target
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


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_linear_layers_become_int8_and_convolutions_stay(target: Target, trained: nn.Module) -> None:
    quantized = torch_dynamic.quantize(trained, target)

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
    target: Target, trained: nn.Module, few_splits: Splits, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    exported = torchscript.export(torch_dynamic.quantize(trained, target), torch.from_numpy(inputs[:1]))
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
def test_the_scales_of_weights_follow_the_target(target: Target, per_channel: bool, trained: nn.Module) -> None:
    quantized = torch_dynamic.quantize(trained, replace(target, per_channel=per_channel))

    scheme = torch.per_channel_affine if per_channel else torch.per_tensor_affine
    weights = [quantized.get_submodule(name).weight() for name in ("hidden", "linear")]  # type: ignore[operator]  # of quantized layers, a method
    assert [(weight.qscheme(), weight.dtype) for weight in weights] == [(scheme, torch.qint8)] * 2


class OwnLinear(nn.Linear):
    """A linear layer of the user's own, which PyTorch does not quantize."""


@pytest.mark.parametrize("module", [modules.Convolutional(), nn.Sequential(nn.Flatten(), OwnLinear(784, 4))])
def test_a_network_without_a_linear_layer_is_refused_in_words(module: nn.Module) -> None:
    with pytest.raises(StepError) as caught:
        torch_dynamic.quantize(module.eval(), TARGETS[0])

    assert str(caught.value) == (
        "the network has no linear layer, and dynamic quantization takes no other\n  try: --quantize static"
    )
