"""Two 3x3 convolutions and one linear layer."""

import torch
from torch import Tensor, nn


class SmallCNN(nn.Module):
    """Classify images; each of the two poolings halves height and width."""

    def __init__(self, channels: int, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.linear = nn.Linear(32 * (height // 4) * (width // 4), classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x classes."""
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.pool2(self.relu2(self.conv2(x)))
        logits: Tensor = self.linear(torch.flatten(x, 1))
        return logits


def build(channels: int, classes: int, height: int, width: int) -> nn.Module:
    """Build the network for images of channels x height x width."""
    return SmallCNN(channels, classes, height, width)
