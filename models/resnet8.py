"""MLPerf Tiny's image classification network (Banbury et al. 2021, arXiv:2106.07597), a ResNet-8 for 32 x 32 images.

Layer for layer as `resnet_v1_eembc` of the benchmark's reference code: the convolutions have biases, the shortcuts have
no batch norm. 78,186 parameters with 3 channels and 10 classes.
"""

import torch
from torch import Tensor, nn


class Stack(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(channels, width, 1, stride)
        self.relu2 = nn.ReLU()  # one of its own: FX quantization observes each module once

    def forward(self, x: Tensor) -> Tensor:
        """Return features, N x width x H / stride x W / stride."""
        y = self.relu1(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        features: Tensor = self.relu2(y + self.shortcut(x))
        return features


class ResNet8(nn.Module):
    """Classify images of any size: the last pooling is global."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        self.stack1 = Stack(16, 16, stride=1)
        self.stack2 = Stack(16, 32, stride=2)
        self.stack3 = Stack(32, 64, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x classes."""
        x = self.relu(self.norm(self.conv(x)))
        x = self.stack3(self.stack2(self.stack1(x)))
        logits: Tensor = self.linear(torch.flatten(self.pool(x), 1))
        return logits


def build(channels: int, classes: int, height: int, width: int) -> nn.Module:
    """Build the network for images of any height and width."""
    return ResNet8(channels, classes)
