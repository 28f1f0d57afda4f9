"""Quantization-aware training by PT2E: a network that rounds is trained, kept, becomes integers and an ONNX file."""

import copy
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

import targets
from packager import recipe
from packager.check import Logits, compare
from packager.data import Splits
from packager.quantize import Order, Trainable, pt2e
from packager.quantize.calibration import Calibration
from packager.train import Job, logits, train
from runner.progress import Silent
from tests import modules
from tests.depthwise import Mobile


class Unusual(nn.Module):
    """A batch norm with an epsilon and a momentum of its own, one without a layer before it, a layer used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1)
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2)
        self.norm1 = nn.BatchNorm2d(8, eps=0.1, momentum=0.3)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(8, affine=False)
        self.norm3 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(8 * 13 * 13, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.relu(self.norm1(self.conv1(self.norm(x))))
        x = self.relu(self.norm2(self.conv2(x)))
        x = self.relu(self.norm3(self.conv2(x)))
        logits: Tensor = self.linear(self.dropout(torch.flatten(x, 1)))
        return logits


def order(splits: Splits, *keep_fp32: str) -> Order:
    """Return what is asked for."""
    calibration = Calibration(samples=splits.calibration, preprocess=splits.preprocess, progress=Silent())
    plan = recipe.Quantize(qat=recipe.Qat(), keep_fp32=keep_fp32)
    return Order(target=targets.load("x86"), plan=plan, calibration=calibration)


def images(splits: Splits) -> Tensor:
    """Return the calibration samples as the network sees them."""
    return torch.from_numpy(splits.preprocess.apply(splits.calibration.array()))


def answers(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the module answers in the mode that it is in."""
    with torch.no_grad():
        found: Tensor = module(inputs)
    return found


def settled(kind: type[nn.Module], splits: Splits) -> nn.Module:
    """Return a network with random weights and the batch-norm statistics of the calibration samples."""
    torch.manual_seed(0)
    return modules.settled(kind(), images(splits))


def trained_on(prepared: nn.Module, splits: Splits, arithmetic: recipe.Arithmetic = "fp32") -> nn.Module:
    """Return the network after an epoch with rounding."""
    plan = recipe.Train(epochs=1, batch_size=32, learning_rate=0.0005, compute="cpu", arithmetic=arithmetic)
    return train(prepared, Job(plan=plan, splits=splits, seed=0, stage="qat"), Silent()).module


def on_evaluation(module: nn.Module, splits: Splits) -> Logits:
    """Return what the module answers to the evaluation samples."""
    return logits(module, splits.evaluation, splits.preprocess).numpy()


def by_onnx_runtime(content: bytes, splits: Splits) -> Logits:
    """Return what a file answers to the evaluation samples."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    found: Logits = session.run(["logits"], {"input": splits.preprocess.apply(splits.evaluation.array())})[0]
    return found


def test_the_module_is_a_technique_that_trains() -> None:
    technique: Trainable = pt2e
    assert technique.prepare is pt2e.prepare


@pytest.mark.parametrize("arithmetic", ["fp32", "bf16"])
def test_a_network_that_learned_to_round_becomes_a_file_with_its_answers(
    arithmetic: recipe.Arithmetic, trained: nn.Module, few_splits: Splits, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = order(few_splits)
    learned = trained_on(pt2e.prepare(trained, asked), few_splits, arithmetic)
    converted = pt2e.convert(learned, asked)
    made = pt2e.to_onnx(converted, images(few_splits)[:1], 20)

    rounded, integers = on_evaluation(learned, few_splits), on_evaluation(converted, few_splits)
    assert compare(integers, rounded).snr_db >= 40
    found = compare(by_onnx_runtime(made.content, few_splits), integers)
    assert found.snr_db >= 40
    assert found.agreement >= 0.99
    assert compare(integers, on_evaluation(trained, few_splits)).snr_db < 40  # it has learned
    assert made.dynamic_batch
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [modules.Residual, Mobile, Unusual])
def test_any_batch_norm_and_dropout_is_trained_and_folded(kind: type[nn.Module], few_splits: Splits) -> None:
    asked = order(few_splits)
    learned = trained_on(pt2e.prepare(settled(kind, few_splits), asked), few_splits)
    converted = pt2e.convert(learned, asked)
    content = pt2e.to_onnx(converted, images(few_splits)[:1], 20).content

    rounded = on_evaluation(learned, few_splits)
    assert compare(on_evaluation(converted, few_splits), rounded).snr_db >= 30
    assert compare(by_onnx_runtime(content, few_splits), rounded).snr_db >= 30
    graph = onnx.load_from_string(content).graph
    assert [each.name for each in graph.initializer if each.data_type == TensorProto.FLOAT and len(each.dims) > 1] == []
    left = [node.op_type for node in graph.node if node.op_type in ("BatchNormalization", "Dropout", "Div")]
    assert left == (["BatchNormalization"] if kind is Unusual else [])


def test_before_any_training_it_answers_nearly_as_the_network_did(few_splits: Splits) -> None:
    module = settled(Unusual, few_splits)
    prepared = pt2e.prepare(module, order(few_splits))

    inputs = images(few_splits)
    difference = answers(prepared, inputs) - answers(module, inputs)
    assert 0 < difference.abs().max() < 0.05 * answers(module, inputs).abs().max()


def test_batch_norms_follow_the_batches_as_they_do_without_rounding(few_splits: Splits) -> None:
    module = settled(Unusual, few_splits)
    prepared = pt2e.prepare(module, order(few_splits)).train()
    before = module.get_buffer("norm1.running_var").clone()
    # Noise, of which a convolution makes something else than of images.
    inputs = images(few_splits)[:16].flatten(2)[..., torch.randperm(28 * 28)].view(16, 1, 28, 28)
    answers(prepared, inputs)
    answers(module.train(), inputs)

    after = module.get_buffer("norm1.running_var")
    found = next(value for name, value in prepared.named_buffers() if name.endswith("norm1.running_var"))
    moved = (after - before).abs().max().item()
    assert moved > 0.05 * before.max().item()
    assert torch.allclose(found, after, atol=0.1 * moved)


def test_in_eval_mode_nothing_moves_and_nothing_drops_out(few_splits: Splits) -> None:
    prepared = pt2e.prepare(settled(Unusual, few_splits), order(few_splits))
    inputs = images(few_splits)
    before = copy.deepcopy(prepared.state_dict())
    one, two = answers(prepared, inputs), answers(prepared, inputs * 3)

    assert all(torch.equal(value, before[name]) for name, value in prepared.state_dict().items())
    assert torch.equal(one, answers(prepared, inputs))
    assert not torch.equal(one, two)
    prepared.train()
    assert not torch.equal(answers(prepared, inputs), answers(prepared, inputs))
    prepared.eval()
    assert torch.equal(answers(prepared, inputs), answers(prepared, inputs))


def test_what_it_learned_is_kept_in_a_file_and_put_into_a_fresh_copy(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    asked = order(few_splits)
    learned = trained_on(pt2e.prepare(trained, asked), few_splits)
    save_model(learned, str(tmp_path / "weights.safetensors"))
    fresh = copy.deepcopy(pt2e.prepare(trained, asked))
    load_model(fresh, str(tmp_path / "weights.safetensors"))

    inputs = images(few_splits)
    assert torch.equal(answers(fresh.eval(), inputs), answers(learned, inputs))
    one, two = (pt2e.convert(each, asked) for each in (fresh, learned))
    assert torch.equal(answers(one, inputs), answers(two, inputs))


def test_a_channel_that_its_batch_norm_makes_zero_is_borne(few_splits: Splits) -> None:
    module, asked = settled(modules.Residual, few_splits), order(few_splits)
    with torch.no_grad():
        module.get_parameter("norm1.weight")[3] = 0
    prepared = pt2e.prepare(module, asked)
    converted = pt2e.convert(prepared, asked)

    assert torch.isfinite(answers(prepared.train(), images(few_splits))).all()
    assert compare(on_evaluation(converted, few_splits), on_evaluation(module, few_splits)).snr_db >= 20


def test_layers_that_the_recipe_keeps_are_trained_without_rounding(few_splits: Splits) -> None:
    asked = order(few_splits, "conv1")
    learned = trained_on(pt2e.prepare(settled(modules.Residual, few_splits), asked), few_splits)
    converted = pt2e.convert(learned, asked)
    content = pt2e.to_onnx(converted, images(few_splits)[:1], 20).content

    floats = [each for each in onnx.load_from_string(content).graph.initializer if each.data_type == TensorProto.FLOAT]
    assert [each.name for each in floats if len(each.dims) > 1] == ["conv1.weight"]
    found = compare(by_onnx_runtime(content, few_splits), on_evaluation(learned, few_splits))
    assert found.snr_db >= 30
