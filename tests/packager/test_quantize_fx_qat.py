"""Quantization-aware training in FX graph mode: a network that rounds is trained, kept, and becomes integers."""

import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn
from torch.nn import functional

import models
import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import torchscript
from packager.quantize import Order, Trainable, fx
from packager.quantize.calibration import Calibration
from packager.train import Job, logits, train
from runner.errors import StepError
from runner.manifest import Target
from runner.progress import Silent
from runner.runtimes import Options
from runner.runtimes import torchscript as runtime
from tests import modules

TARGETS = [targets.load("x86"), targets.load("arm-qnnpack")]
NAMES = [target.name for target in TARGETS]


def order(target: Target, splits: Splits, plan: recipe.Quantize | None = None) -> Order:
    """Return what is asked for."""
    calibration = Calibration(samples=splits.calibration, preprocess=splits.preprocess, progress=Silent())
    return Order(target=target, plan=plan or recipe.Quantize(qat=recipe.Qat()), calibration=calibration)


def images(splits: Splits) -> Tensor:
    """Return the calibration samples as the network sees them."""
    return torch.from_numpy(splits.preprocess.apply(splits.calibration.array()))


def answers(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the module answers in eval mode."""
    with torch.no_grad():
        logits: Tensor = module.eval()(inputs)
    return logits


def step(prepared: nn.Module, splits: Splits, dtype: torch.dtype = torch.float32) -> float:
    """Train for one step, channels last, and return the loss."""
    prepared.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(prepared.parameters(), 0.001)
    inputs = images(splits)[:8].to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        loss = functional.cross_entropy(prepared(inputs), torch.from_numpy(splits.calibration.labels[:8]))
    loss.backward()  # type: ignore[no-untyped-call]  # torch ships it so
    optimizer.step()
    prepared.to(memory_format=torch.contiguous_format)
    return loss.item()


def settled(name: str, splits: Splits) -> nn.Module:
    """Return a network with random weights and the batch-norm statistics of the calibration samples."""
    torch.manual_seed(0)
    return modules.settled(models.build(name, 1, 4, 28, 28), images(splits)[:16])


def test_the_module_is_a_technique_that_trains() -> None:
    technique: Trainable = fx
    assert technique.prepare is fx.prepare


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_a_network_that_learned_to_round_becomes_a_file_with_its_answers(
    arithmetic: recipe.Arithmetic, target: Target, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    asked = order(target, few_splits)
    prepared = fx.prepare(trained, asked)
    plan = recipe.Train(epochs=2, batch_size=32, learning_rate=0.0005, compute="cpu", arithmetic=arithmetic)
    learned = train(prepared, Job(plan=plan, splits=few_splits, seed=0, stage="qat"), Silent())
    file = tmp_path / "int8.pt"
    file.write_bytes(torchscript.export(fx.convert(learned.module, asked), images(few_splits)[:1]).content)

    session = runtime.load(file, Options(threads=1, engine=target.engine))
    found = session.run(few_splits.preprocess.apply(few_splits.evaluation.array()))
    rounding = logits(learned.module, few_splits.evaluation, few_splits.preprocess).numpy()
    assert learned.epochs[-1].train_loss < learned.epochs[0].train_loss + 0.05
    assert max(epoch.validation_accuracy for epoch in learned.epochs) >= 0.8
    assert abs(found - rounding).max() < 0.3
    assert compare(found, rounding).snr_db >= 30
    assert compare(found, logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()).snr_db < 30


@pytest.mark.parametrize(
    ("name", "target"), [("resnet8", TARGETS[0]), ("resnet8", TARGETS[1]), ("mobilenet_v3_large", TARGETS[0])]
)
def test_a_trained_copy_can_be_kept_and_taken_up_again(
    name: str, target: Target, few_splits: Splits, tmp_path: Path
) -> None:
    module, asked = settled(name, few_splits), order(target, few_splits)
    learned = copy.deepcopy(fx.prepare(module, asked))
    loss = step(learned, few_splits, torch.bfloat16)
    inputs = images(few_splits)[:16]
    expected = answers(learned, inputs)
    save_model(learned, str(tmp_path / "learned.safetensors"))
    from_state, from_file = fx.prepare(module, asked), fx.prepare(module, asked)
    unlike = answers(from_state, inputs)
    from_state.load_state_dict(learned.state_dict())
    load_model(from_file, str(tmp_path / "learned.safetensors"))

    assert loss == pytest.approx(1.4, abs=0.5)
    assert not torch.equal(unlike, expected)
    assert torch.equal(answers(from_state, inputs), expected)
    assert torch.equal(answers(from_file, inputs), expected)
    converted = answers(fx.convert(from_file, asked), inputs)
    assert compare(converted.numpy(), expected.numpy()).snr_db >= 20


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_weights_round_per_channel_or_per_tensor_as_asked(
    per_channel: bool, target: Target, trained: nn.Module, few_splits: Splits
) -> None:
    asked = order(target, few_splits, recipe.Quantize(per_channel=per_channel))
    prepared = fx.prepare(trained, asked)
    weight = fx.convert(prepared, asked).get_submodule("hidden").weight()  # type: ignore[operator]  # of quantized layers, a method

    assert prepared.get_buffer("hidden.weight_fake_quant.scale").shape == (512 if per_channel else 1,)
    assert weight.qscheme() == (torch.per_channel_affine if per_channel else torch.per_tensor_affine)


def test_ranges_follow_training_samples_alone(trained: nn.Module, few_splits: Splits) -> None:
    prepared = fx.prepare(trained, order(TARGETS[0], few_splits))
    before = {name: value.clone() for name, value in prepared.state_dict().items()}
    answers(prepared, 10 * images(few_splits))
    evaluated = {name: value.clone() for name, value in prepared.state_dict().items()}
    prepared.train()(10 * images(few_splits))

    assert all(torch.equal(value, before[name]) for name, value in evaluated.items())
    scale = "activation_post_process_0.scale"
    assert prepared.get_buffer(scale).item() > 1.05 * before[scale].item()


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_range_of_a_weight_is_its_own_after_every_step(
    target: Target, trained: nn.Module, few_splits: Splits
) -> None:
    prepared = fx.prepare(trained, order(target, few_splits))
    with torch.no_grad():
        prepared.get_parameter("linear.weight").mul_(3)
    before = prepared.get_buffer("linear.weight_fake_quant.scale").clone()
    answers(prepared, images(few_splits))

    assert torch.allclose(prepared.get_buffer("linear.weight_fake_quant.scale"), 3 * before)


def test_layers_that_the_recipe_keeps_are_not_rounded(trained: nn.Module, few_splits: Splits) -> None:
    asked = order(TARGETS[0], few_splits, recipe.Quantize(keep_fp32=("hidden",)))
    prepared = fx.prepare(trained, asked)

    assert "hidden.0.weight" in prepared.state_dict()
    assert not any(name.startswith("hidden.") and "fake_quant" in name for name in prepared.state_dict())
    assert type(fx.convert(prepared, asked).get_submodule("hidden")[0]) is nn.Linear  # type: ignore[index]  # it and its ReLU


class Random(nn.Module):
    """Drops out by a function, which in a trace of train mode it would for ever."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(784, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        logits: Tensor = self.linear(functional.dropout(torch.flatten(x, 1), 0.5, self.training))
        return logits


def test_eval_mode_is_not_random(few_splits: Splits) -> None:
    prepared = fx.prepare(Random(), order(TARGETS[0], few_splits))

    assert torch.equal(answers(prepared, images(few_splits)), answers(prepared, images(few_splits)))


def test_the_trained_copy_and_the_network_are_left_as_they_were(trained: nn.Module, few_splits: Splits) -> None:
    asked = order(TARGETS[1], few_splits)
    prepared = fx.prepare(trained, asked)
    before = answers(prepared, images(few_splits))
    fx.convert(prepared, asked)

    assert torch.equal(answers(prepared, images(few_splits)), before)
    assert type(trained.get_submodule("conv1")) is nn.Conv2d
    assert not trained.training


def test_a_layer_that_cannot_be_traced_is_named(few_splits: Splits) -> None:
    with pytest.raises(StepError, match=r"the network cannot be quantized, in block\.gate \(Gate\): TraceError"):
        fx.prepare(modules.Gated().eval(), order(TARGETS[0], few_splits))


def test_nothing_is_printed(trained: nn.Module, few_splits: Splits, capfd: pytest.CaptureFixture[str]) -> None:
    for target in TARGETS:
        asked = order(target, few_splits)
        prepared = fx.prepare(trained, asked)
        step(prepared, few_splits)
        fx.convert(prepared, asked)

    assert capfd.readouterr() == ("", "")
