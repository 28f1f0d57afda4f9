"""Channels between two layers are scaled: the answers stay, and one scale per tensor is enough for the weights."""

import copy
from typing import cast

import numpy as np
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn import functional

import models
import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, onnx_static
from packager.quantize import fx as fx_graph_mode
from packager.quantize.calibration import Calibration
from packager.quantize.equalization import ScaledReLU6, equalized
from packager.train import Job, train
from runner.errors import StepError
from runner.progress import Silent
from tests import modules
from tests.depthwise import Mobile, unbalanced

IMAGES = torch.randn(32, 1, 28, 28, generator=torch.Generator().manual_seed(0))
PER_TENSOR = recipe.Quantize(per_channel=False)


class Varied(nn.Module):
    """Groups, functions in the place of layers, one ReLU6 for all, and what is flattened by its own size."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, stride=2)
        self.conv2 = nn.Conv2d(8, 12, 3, groups=4)
        self.conv3 = nn.Conv2d(12, 6, 3, groups=2)
        self.conv4 = nn.Conv2d(6, 6, 1)
        self.relu6 = nn.ReLU6(inplace=True)
        self.linear1 = nn.Linear(6 * 4 * 4, 16)
        self.linear2 = nn.Linear(16, 8)
        self.linear3 = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.relu6(self.conv1(x))
        x = self.conv3(self.relu6(self.conv2(x)))
        x = functional.avg_pool2d(functional.max_pool2d(functional.leaky_relu(x), 2, stride=1), 2, stride=1)
        x = functional.adaptive_avg_pool2d(self.conv4(x), 4)
        x = self.linear1(functional.relu6(x.view(x.size(0), -1)))
        x = self.linear2(functional.dropout(x.relu(), training=self.training))
        logits: Tensor = self.linear3(functional.hardswish(x))
        return logits


def loud(module: nn.Module) -> nn.Module:
    """Return the network with settled batch norms and so large weights and biases that a ReLU6 cuts many values off."""
    chance = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                layer.weight.mul_(4)
                if layer.bias is not None:
                    nn.init.uniform_(layer.bias, 0, 4, generator=chance)
    return modules.settled(module, IMAGES)


def answers(module: nn.Module, images: Tensor = IMAGES) -> Tensor:
    """Return what a network answers to the images."""
    with torch.no_grad():
        return module(images)  # type: ignore[no-any-return]  # a module may return anything


def weight(module: nn.Module, name: str) -> Tensor:
    """Return the weight of a layer."""
    return cast("Tensor", module.get_submodule(name).weight).detach()


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


@pytest.mark.parametrize(
    "build",
    [
        lambda: Mobile(nn.ReLU),
        lambda: Mobile(nn.ReLU6),
        lambda: Mobile(nn.Hardswish),
        Varied,
        modules.Residual,
        modules.OnePixel,
        lambda: models.build("small_cnn", 1, 4, 28, 28),
        lambda: models.build("wide_cnn", 1, 4, 28, 28),
        lambda: models.build("resnet8", 1, 4, 28, 28),
    ],
)
def test_the_answers_stay_while_weights_change(build: type[nn.Module]) -> None:
    torch.manual_seed(0)
    module = loud(build())
    network = equalized(module, IMAGES[:8])
    fresh = 2 * torch.randn(32, 1, 28, 28)

    torch.testing.assert_close(answers(network, fresh), answers(module, fresh), rtol=1e-3, atol=1e-3)
    assert any(
        not torch.equal(value, module.state_dict()[name])
        for name, value in network.named_parameters()
        if name in module.state_dict()
    )


def test_two_linear_layers_share_each_channel_s_range_evenly() -> None:
    module = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 1)).eval()
    values = {"0.weight": [[8.0], [-2.0]], "0.bias": [4.0, 0.0], "2.weight": [[1.0, 4.0]], "2.bias": [7.0]}
    module.load_state_dict({name: torch.tensor(value) for name, value in values.items()})
    network = equalized(module, torch.tensor([[1.0], [-2.0]]))

    # Shares of the tensors' ranges, 1 and 1/4 before and 1/4 and 1 behind: both become 1/2 on either side.
    assert weight(network, "0").flatten().tolist() == pytest.approx([4.0, -4.0])
    assert network.get_parameter("0.bias").tolist() == pytest.approx([2.0, 0.0])
    assert weight(network, "2").flatten().tolist() == pytest.approx([2.0, 2.0])
    assert network.get_parameter("2.bias").tolist() == [7.0]


def test_ranges_on_both_sides_of_a_depthwise_convolution_become_even(learned: nn.Module) -> None:
    network = equalized(unbalanced(learned, 1000), IMAGES)
    for block in range(3):
        expand, depthwise, project = (
            weight(network, f"blocks.{block}.{name}") for name in ("expand", "depthwise", "project")
        )
        before, middle, behind = (
            expand.abs().amax((1, 2, 3)),
            depthwise.abs().amax((1, 2, 3)),
            project.abs().amax((0, 2, 3)),
        )
        assert (middle.max() / middle.median()).item() < 4
        assert (before.max() / before.median()).item() < 4
        assert (behind.max() / behind.median()).item() < 4


def test_weights_behind_what_does_not_scale_are_left() -> None:
    torch.manual_seed(0)
    module = Varied().eval()
    network = equalized(module, IMAGES)

    assert torch.equal(weight(network, "linear3"), module.linear3.weight)
    assert not torch.equal(weight(network, "linear2"), module.linear2.weight)


def test_a_dead_channel_is_left_as_it_is() -> None:
    torch.manual_seed(0)
    module = Varied().eval()
    with torch.no_grad():
        module.conv1.weight[3] = 0
        module.linear2.weight[:, 5] = 0
    network = equalized(module, IMAGES)

    assert all(value.isfinite().all() for value in network.parameters())
    assert torch.equal(weight(network, "conv1")[3], torch.zeros(1, 3, 3))
    assert network.get_parameter("linear1.bias")[5] == module.linear1.bias[5]


def test_a_channel_of_small_weights_and_a_large_bias_does_not_stretch_the_activations() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval()
    conv = module[0]
    assert isinstance(conv, nn.Conv2d)
    assert conv.bias is not None
    with torch.no_grad():
        conv.weight[0] *= 1e-6
        conv.bias[0] = 1.0
    before = answers(module[:2]).max()
    network = equalized(module, IMAGES)

    behind = answers(network.get_submodule("1"), answers(network.get_submodule("0")))
    assert behind.max() <= before * 1.01


def test_the_ceiling_of_a_relu6_follows_its_channel() -> None:
    torch.manual_seed(0)
    module = loud(Mobile(nn.ReLU6))
    network = equalized(module, IMAGES)
    ceilings = {name: layer.ceilings for name, layer in network.named_modules() if isinstance(layer, ScaledReLU6)}

    assert set(ceilings) == {"act", "act_head", *(f"blocks.{block}.act{act}" for block in range(3) for act in (1, 2))}
    assert ceilings["blocks.0.act1"].shape == (1, 24, 1, 1)
    without = copy.deepcopy(network)
    for name in ceilings:
        without.set_submodule(name, nn.ReLU())
    assert not torch.allclose(answers(without), answers(module), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.ReLU6])
def test_an_equalized_network_is_a_network_like_any_other(
    activation: type[nn.Module], few_splits: Splits, calibration: Calibration
) -> None:
    torch.manual_seed(0)
    module = modules.settled(Mobile(activation), torch.from_numpy(next(calibration.batches(""))))
    network = equalized(module, IMAGES)
    images = torch.from_numpy(few_splits.preprocess.apply(few_splits.evaluation.array()))
    expected = answers(module, images).numpy()

    torch.testing.assert_close(answers(copy.deepcopy(network)), answers(network), rtol=0, atol=0)
    torch.testing.assert_close(answers(fx.symbolic_trace(network)), answers(network), rtol=0, atol=0)
    assert compare(run(onnx_export.export(network, images[:1], 20).content, images.numpy()), expected).snr_db > 60
    order = Order(target=targets.load("arm-qnnpack"), plan=PER_TENSOR, calibration=calibration)
    assert compare(answers(fx_graph_mode.quantize(network, order), images).numpy(), expected).snr_db > 20
    job = Job(plan=recipe.Train(epochs=1, batch_size=32, compute="cpu"), splits=few_splits, seed=0)
    trained = train(network, job, Silent()).module
    assert not torch.equal(weight(trained, "stem"), weight(network, "stem"))


def run(content: bytes, images: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what ONNX Runtime answers."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options)
    found: NDArray[np.float32] = session.run(None, {"input": images})[0]
    return found


def int8_snr_db(module: nn.Module, reference: nn.Module, road: str, calibration: Calibration, splits: Splits) -> float:
    """Return signal to noise of a network with int8 weights of one scale per tensor."""
    images = torch.from_numpy(splits.preprocess.apply(splits.evaluation.array()))
    order = Order(target=targets.load("arm-qnnpack"), plan=PER_TENSOR, calibration=calibration)
    if road == "fx":
        found = answers(fx_graph_mode.quantize(module, order), images).numpy()
    else:
        found = run(onnx_static.quantize(onnx_export.export(module, images[:1], 20).content, order), images.numpy())
    return compare(found, answers(reference, images).numpy()).snr_db


@pytest.mark.parametrize("road", ["fx", "onnx"])
def test_a_depthwise_network_of_uneven_channels_is_restored(
    road: str, learned: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    module = unbalanced(learned, 1000)
    network = equalized(module, torch.from_numpy(next(calibration.batches(""))))

    before, after, even = (
        int8_snr_db(each, learned, road, calibration, few_splits) for each in (module, network, learned)
    )
    assert before < 10
    assert after > before + 15
    assert after > even - 6


def test_the_network_is_left_as_it_was(learned: nn.Module) -> None:
    before = copy.deepcopy(learned.state_dict())
    equalized(learned, IMAGES)
    assert all(torch.equal(value, before[name]) for name, value in learned.state_dict().items())


def test_a_layer_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(StepError, match=r"the network cannot be traced, in block.gate \(Gate\): TraceError"):
        equalized(modules.Gated().eval(), IMAGES)
