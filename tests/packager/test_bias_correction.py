"""What rounding the weights adds on average goes off the biases."""

import copy
from collections.abc import Iterator
from typing import cast

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import targets
from packager import recipe
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, fx, onnx_static
from packager.quantize.bias_correction import REDUCED_ONNX_RUNTIME, TORCH, corrected
from packager.quantize.calibration import Calibration
from packager.quantize.equalization import equalized
from packager.quantize.folding import folded
from packager.train import Job, train
from runner.errors import StepError
from runner.progress import Silent
from tests import modules
from tests.depthwise import Mobile
from tests.watched import WatchedCalibration

PER_TENSOR = recipe.Quantize(per_channel=False)


@pytest.fixture(scope="module")
def calibration(few_splits: Splits) -> Calibration:
    """The calibration samples, 70 of them."""
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


@pytest.fixture(scope="module")
def learned(few_splits: Splits) -> nn.Module:
    """A depthwise network that has learned the few images."""
    torch.manual_seed(0)
    job = Job(plan=recipe.Train(epochs=4, batch_size=32, compute="cpu"), splits=few_splits, seed=0)
    return train(Mobile(), job, Silent()).module


def answers(module: nn.Module, images: Tensor) -> Tensor:
    """Return what a network answers."""
    with torch.no_grad():
        return module(images)  # type: ignore[no-any-return]  # a module may return anything


def parameters(module: nn.Module) -> dict[str, Tensor]:
    """Return what a network has learned."""
    return {name: value.detach() for name, value in module.named_parameters()}


def rounded(module: nn.Module, *, per_channel: bool, steps: float = 127.0, keep: str = "") -> nn.Module:
    """Return a copy whose weights have been through int8."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        for name, layer in module.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear) and name != keep:
                rows = layer.weight.flatten(1) if per_channel else layer.weight.view(1, -1)
                scale = rows.abs().amax(1, keepdim=True) / steps
                layer.weight.copy_(((rows / scale).round().clamp(-128, 127) * scale).view_as(layer.weight))
    return module


def mean_error(module: nn.Module, reference: nn.Module, images: Tensor) -> float:
    """Return how far the mean of each logit is off, as the root of the mean square."""
    return (answers(module, images) - answers(reference, images)).mean(0).square().mean().sqrt().item()


def batches(calibration: Calibration) -> Iterator[NDArray[np.float32]]:
    """Yield the calibration samples."""
    return calibration.batches("correct biases")


def test_a_linear_layer_gets_what_the_mean_input_makes_of_the_rounding() -> None:
    module = nn.Sequential(nn.Linear(2, 2)).eval()
    module.load_state_dict({"0.weight": torch.tensor([[127.0, 1.4], [50.8, 2.7]]), "0.bias": torch.tensor([1.0, 2.0])})
    images = np.array([[0, 1], [2, 3], [4, 11]], np.float32)  # the means are 2 and 5
    per_tensor = corrected(module, [images[:2], images[2:]], per_channel=False)
    per_channel = corrected(module, [images[:2], images[2:]], per_channel=True)

    # Rounded per tensor to 127, 1, 51 and 3; per channel, the second row has steps of 0.4 and is 50.8 and 2.8.
    assert parameters(per_tensor)["0.bias"].tolist() == pytest.approx([1 + 5 * 0.4, 2 - 2 * 0.2 - 5 * 0.3], abs=1e-4)
    assert parameters(per_channel)["0.bias"].tolist() == pytest.approx([1 + 5 * 0.4, 2 - 5 * 0.1], abs=1e-4)
    assert torch.equal(parameters(per_tensor)["0.weight"], parameters(module)["0.weight"])


def test_a_reduced_range_has_half_as_many_steps() -> None:
    module = nn.Sequential(nn.Linear(2, 1)).eval()
    module.load_state_dict({"0.weight": torch.tensor([[64.0, 1.4]]), "0.bias": torch.tensor([1.0])})
    found = corrected(module, [np.array([[2, 5]], np.float32)], per_channel=False, steps=REDUCED_ONNX_RUNTIME)

    # Rounded to 64 and 1, where 127 steps would have 127 and 3, of 0.504 each.
    assert parameters(found)["0.bias"].tolist() == pytest.approx([1 + 5 * 0.4], abs=1e-4)


@pytest.mark.parametrize("per_channel", [True, False])
def test_a_convolution_s_padding_and_stride_count(per_channel: bool) -> None:
    torch.manual_seed(0)
    module = nn.Conv2d(2, 4, 3, stride=2, padding=1, groups=2, bias=False).eval()
    images = torch.rand(5, 2, 7, 7)
    layer = nn.Sequential(module)
    found = parameters(corrected(layer, [images.numpy()], per_channel=per_channel))["0.bias"]

    shift = answers(rounded(layer, per_channel=per_channel), images) - answers(layer, images)
    torch.testing.assert_close(found, -shift.mean((0, 2, 3)))
    assert found.abs().min() > 0


@pytest.mark.parametrize("per_channel", [True, False])
def test_the_mean_of_the_logits_is_restored(
    per_channel: bool, learned: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    network = corrected(learned, batches(calibration), per_channel=per_channel)
    plain = folded(learned, torch.zeros(1, 1, 28, 28))
    seen = torch.from_numpy(np.concatenate(list(batches(calibration))))
    unseen = torch.from_numpy(few_splits.preprocess.apply(few_splits.evaluation.array()))

    for images, share in ((seen, 0.2), (unseen, 0.5)):
        before = mean_error(rounded(plain, per_channel=per_channel), learned, images)
        after = mean_error(rounded(network, per_channel=per_channel), learned, images)
        assert after < share * before


def test_only_biases_change_and_each_layer_has_one_that_learns(learned: nn.Module, calibration: Calibration) -> None:
    before = parameters(folded(learned, torch.zeros(1, 1, 28, 28)))
    network = corrected(learned, batches(calibration), per_channel=True)
    after = parameters(network)

    assert after.keys() == before.keys()
    assert {name for name in after if not torch.equal(after[name], before[name])} == {
        name for name in after if name.endswith(".bias")
    }
    assert all(value.requires_grad for value in network.parameters())
    assert not any(layer._forward_hooks for layer in network.modules())


def test_layers_that_stay_in_fp32_are_left(learned: nn.Module, calibration: Calibration) -> None:
    before = parameters(folded(learned, torch.zeros(1, 1, 28, 28)))
    network = corrected(learned, batches(calibration), per_channel=True, stays_fp32=lambda name: name == "stem")
    after = parameters(network)
    seen = torch.from_numpy(np.concatenate(list(batches(calibration))))

    assert torch.equal(after["stem.bias"], before["stem.bias"])
    shift = answers(cut(rounded(network, per_channel=True, keep="stem")), seen) - answers(cut(learned), seen)
    assert shift.mean((0, 2, 3)).abs().max() < 1e-5
    assert not torch.equal(after["blocks.0.expand.bias"], before["blocks.0.expand.bias"])


def cut(module: nn.Module) -> nn.Module:
    """Return the network up to the first block's first norm."""
    layers = ["stem", "norm", "act", "blocks.0.expand", "blocks.0.norm1"]
    found = dict(module.named_modules())
    return nn.Sequential(*(cast("nn.Module", found[name]) for name in layers if name in found))


def test_every_calibration_sample_counts_once_and_few_are_held(learned: nn.Module, few_splits: Splits) -> None:
    watched = WatchedCalibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())
    network = corrected(learned, watched.batches("", 32), per_channel=True)

    assert [len(batch) for batch in watched.batches_seen] == [32, 32, 6]
    assert max(watched.held) <= 2  # the first, and the one in work
    few = corrected(learned, watched.batches_seen[:1], per_channel=True)
    assert not torch.equal(parameters(few)["linear.bias"], parameters(network)["linear.bias"])


def test_int8_files_have_a_smaller_error_on_average(
    learned: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    """One network through ONNX Runtime and through FX, each with the steps of its own quantizer."""
    network = equalized(learned, torch.from_numpy(next(batches(calibration))))
    images = torch.from_numpy(few_splits.preprocess.apply(few_splits.evaluation.array()))
    order = Order(target=targets.load("arm-qnnpack"), plan=PER_TENSOR, calibration=calibration)
    for_onnx = corrected(network, batches(calibration), per_channel=False)
    for_torch = corrected(network, batches(calibration), per_channel=False, steps=TORCH)

    onnx = [onnx_mean_error(each, learned, images, order) for each in (network, for_onnx)]
    torch_ = [mean_error(fx.quantize(each, order), learned, images) for each in (network, for_torch)]
    assert onnx[1] < 0.5 * onnx[0]
    assert torch_[1] < 0.8 * torch_[0]


def onnx_mean_error(module: nn.Module, reference: nn.Module, images: Tensor, order: Order) -> float:
    """Return how far the mean of each logit of the int8 file is off."""
    content = onnx_static.quantize(onnx_export.export(module, images[:1], 20).content, order)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    found = onnxruntime.InferenceSession(content, options).run(None, {"input": images.numpy()})[0]
    return (torch.from_numpy(found) - answers(reference, images)).mean(0).square().mean().sqrt().item()


def test_a_layer_that_cannot_be_traced_is_named(calibration: Calibration) -> None:
    with pytest.raises(StepError, match=r"the network cannot be traced, in block.gate \(Gate\): TraceError"):
        corrected(modules.Gated().eval(), batches(calibration), per_channel=True)
