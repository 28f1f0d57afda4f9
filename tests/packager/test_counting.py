"""Sizes of networks: exact, and as published."""

import pytest
import torch
from torch import Tensor, nn

import models
from packager.counting import Counts, count

IMAGE = torch.zeros(1, 3, 32, 32)


def test_resnet8_is_counted_as_by_hand() -> None:
    first = 3 * 16 * 9 * 32 * 32
    stack1 = 2 * (16 * 16 * 9 * 32 * 32)
    stack2 = (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) * 16 * 16
    stack3 = (32 * 64 * 9 + 64 * 64 * 9 + 32 * 64) * 8 * 8
    counts = count(models.build("resnet8", 3, 10, 32, 32), IMAGE)

    assert counts.macs == first + stack1 + stack2 + stack3 + 64 * 10 == 12_501_632
    assert counts.parameters == 78_186


@pytest.mark.parametrize(
    ("name", "macs"), [("resnet18", 1_814_073_344), ("mobilenet_v2", 300_774_272), ("shufflenet_v2_x0_5", 40_476_448)]
)
def test_networks_of_torchvision_have_the_size_that_is_published(name: str, macs: int) -> None:
    """1.81, 0.30 and 0.04 GMACs in torchvision's table of weights; grouped convolutions included."""
    assert count(models.build(name, 3, 1000, 224, 224), torch.zeros(1, 3, 224, 224)).macs == macs


def test_a_depthwise_convolution_has_one_product_per_channel_and_place() -> None:
    assert count(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), torch.zeros(1, 8, 6, 6)).macs == 8 * 9 * 6 * 6


class Attention(nn.Module):
    """Self-attention of four heads over a sequence of 10, width 16."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return N x 10 x 16."""
        answers: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return answers


def test_attention_is_counted_with_its_products_of_activations() -> None:
    projections = 4 * 10 * 16 * 16
    between = 2 * 10 * 10 * 16
    for module in (Attention().eval(), Attention().train()):
        assert count(module, torch.zeros(1, 10, 16)).macs == projections + between
    assert torch.backends.mha.get_fastpath_enabled()


def test_multiply_accumulates_are_those_of_one_sample() -> None:
    module = models.build("small_cnn", 1, 4, 28, 28)

    assert count(module, torch.zeros(5, 1, 28, 28)).macs == count(module, torch.zeros(1, 1, 28, 28)).macs


def test_zeros_are_parameters_that_do_nothing() -> None:
    module = nn.Linear(4, 3)
    with torch.no_grad():
        module.weight[0] = 0
        module.bias.fill_(1)

    assert count(module, torch.zeros(1, 4)) == Counts(parameters=15, nonzero=11, macs=12)


def test_counting_changes_nothing() -> None:
    """Not even the statistics of a batch norm in training mode."""
    module = models.build("resnet8", 3, 10, 32, 32).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    count(module, torch.randn(2, 3, 32, 32))

    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
