"""Batch norms folded into the layers before them."""

import copy

import pytest
import torch
from torch import Tensor, nn

import models
from packager.quantize.folding import folded
from runner.errors import StepError
from tests import modules
from tests.depthwise import Mobile

IMAGES = torch.randn(16, 1, 28, 28, generator=torch.Generator().manual_seed(0))


class Shared(nn.Module):
    """One convolution that serves twice, each time before a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(1)
        self.norm2 = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        features: Tensor = self.norm2(self.conv(self.norm1(self.conv(x))))
        return features


class Watched(nn.Module):
    """What is before the batch norm is used as well."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        y = self.conv(x)
        features: Tensor = y + self.norm(y)
        return features


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 1, 3)
        self.conv2 = nn.Conv2d(1, 1, 3)
        self.conv2.weight = self.conv1.weight
        self.norm = nn.BatchNorm2d(1)

    def forward(self, x: Tensor) -> Tensor:
        """Return features."""
        features: Tensor = self.conv2(self.norm(self.conv1(x)))
        return features


class Rows(nn.Module):
    """A linear layer on rows of pixels, and a batch norm whose channels are the rows: as many as it has outputs."""

    def __init__(self, *, flat: bool) -> None:
        super().__init__()
        self.flat = flat
        self.linear = nn.Linear(28, 28)
        self.norm = nn.BatchNorm1d(28)

    def forward(self, x: Tensor) -> Tensor:
        """Return N x 28 (x 28)."""
        rows = x[:, 0, 0] if self.flat else x[:, 0]
        features: Tensor = self.norm(self.linear(rows))
        return features


def settled(module: nn.Module) -> nn.Module:
    """Return the network with batch norms that do something."""
    generator = torch.Generator().manual_seed(0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 2.0, generator=generator)
            nn.init.normal_(layer.bias, generator=generator)
    return modules.settled(module, IMAGES)


def answers(module: nn.Module) -> Tensor:
    """Return what a network answers to the images."""
    with torch.no_grad():
        return module(IMAGES)  # type: ignore[no-any-return]  # a module may return anything


def norms(module: nn.Module) -> int:
    """Count the batch norms in a network."""
    return sum(isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) for layer in module.modules())


@pytest.mark.parametrize(
    ("build", "left"),
    [
        (lambda: Mobile(nn.ReLU6), 0),
        (lambda: models.build("wide_cnn", 1, 4, 28, 28), 0),
        (lambda: models.build("resnet8", 1, 4, 28, 28), 0),
        (modules.Residual, 0),
        (lambda: Rows(flat=True), 0),
        (lambda: Rows(flat=False), 1),
        (Shared, 2),
        (Watched, 1),
        (Tied, 1),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4)), 1),
        (lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 4, 3)), nn.BatchNorm2d(4)), 1),
    ],
)
def test_batch_norms_go_where_a_layer_can_take_them_over_and_the_answers_stay(
    build: type[nn.Module], left: int
) -> None:
    torch.manual_seed(0)
    module = settled(build())
    network = folded(module, IMAGES[:2])

    assert norms(module) > 0
    assert norms(network) == left
    torch.testing.assert_close(answers(network), answers(module), rtol=1e-4, atol=1e-5)


def test_weight_and_bias_are_scaled_by_the_norm() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.BatchNorm2d(2, eps=0.0)).eval()
    conv, norm = module
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    for tensor, values in (
        (conv.weight.data, [3.0, 5.0]),
        (norm.weight.data, [2.0, 1.0]),
        (norm.bias.data, [10.0, 0.0]),
        (norm.running_mean, [1.0, 2.0]),
        (norm.running_var, [4.0, 0.25]),
    ):
        assert isinstance(tensor, Tensor)
        tensor.copy_(torch.tensor(values).view_as(tensor))
    layer = folded(module, IMAGES).get_submodule("0")

    assert isinstance(layer, nn.Conv2d)
    assert layer.weight.flatten().tolist() == [3.0, 10.0]
    assert layer.bias is not None
    assert layer.bias.tolist() == [9.0, -4.0]


def test_layers_keep_their_names_and_can_be_trained() -> None:
    module = settled(Mobile())
    network = folded(module, IMAGES)
    kinds = (nn.Conv2d, nn.Linear, nn.ReLU, nn.Dropout)
    before = {name for name, layer in module.named_modules() if isinstance(layer, kinds)}

    assert {name for name, layer in network.named_modules() if isinstance(layer, kinds)} == before
    network.train()(IMAGES).sum().backward()
    assert {name for name, value in network.named_parameters() if value.grad is None} == set()
    assert "blocks.0.depthwise.bias" in dict(network.named_parameters())


def test_the_network_is_left_as_it_was() -> None:
    module = settled(Mobile()).train()
    before = copy.deepcopy(module.state_dict())
    folded(module, IMAGES)

    assert module.training
    assert module.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_weights_in_channels_last_layout_are_borne() -> None:
    module = settled(Mobile()).to(memory_format=torch.channels_last)
    torch.testing.assert_close(answers(folded(module, IMAGES)), answers(module), rtol=1e-4, atol=1e-5)


def test_a_layer_that_cannot_be_traced_is_named() -> None:
    with pytest.raises(StepError) as caught:
        folded(modules.Gated().eval(), IMAGES)

    assert str(caught.value) == (
        "the network cannot be traced, in block.gate (Gate): "
        "TraceError: symbolically traced variables cannot be used as inputs to control flow\n"
        "  try: leave data-dependent `if`, loops over tensors and print out of forward(), "
        "or pack without `equalize` and `correct_bias`"
    )
