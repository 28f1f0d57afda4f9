"""A small depthwise network for images of 1 x 28 x 28, and the same with channels of very different ranges."""

import copy

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """MobileNetV2's inverted residual."""

    def __init__(self, channels: int, width: int, stride: int, activation: type[nn.Module]) -> None:
        super().__init__()
        inner = 3 * channels
        self.expand = nn.Conv2d(channels, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.act1 = activation()
        self.depthwise = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=inner, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.act2 = activation()
        self.project = nn.Conv2d(inner, width, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(width)
        self.shortcut = stride == 1 and channels == width

    def forward(self, x: Tensor) -> Tensor:
        """Return features, of half the size where the stride is 2."""
        y = self.act1(self.norm1(self.expand(x)))
        y = self.act2(self.norm2(self.depthwise(y)))
        features: Tensor = self.norm3(self.project(y))
        return x + features if self.shortcut else features


class Mobile(nn.Module):
    """Three blocks, the second with a shortcut, between two convolutions, and a linear layer."""

    def __init__(self, activation: type[nn.Module] = nn.ReLU) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.act = activation()
        self.blocks = nn.Sequential(
            Block(8, 16, 2, activation), Block(16, 16, 1, activation), Block(16, 24, 2, activation)
        )
        self.head = nn.Conv2d(24, 48, 1)
        self.act_head = activation()
        self.dropout = nn.Dropout(0.1)
        self.linear = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.blocks(self.act(self.norm(self.stem(x))))
        x = self.act_head(self.head(x))
        logits: Tensor = self.linear(self.dropout(x.mean([2, 3])))
        return logits


def unbalanced(mobile: nn.Module, spread: float) -> nn.Module:
    """Return a Mobile with ReLU that answers the same, with channels whose ranges differ by up to `spread`."""
    mobile = copy.deepcopy(mobile)
    chance = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for block in mobile.modules():
            if isinstance(block, Block):
                for norm, layer in ((block.norm1, block.depthwise), (block.norm2, block.project)):
                    factors = spread ** (torch.rand(norm.num_features, generator=chance) - 0.5)
                    norm.weight.mul_(factors)
                    norm.bias.mul_(factors)
                    by_input = (-1, 1, 1, 1) if layer.groups > 1 else (1, -1, 1, 1)
                    layer.weight.div_(factors.view(by_input))
    return mobile
