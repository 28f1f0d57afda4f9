"""Two 3x3 convolutions with batch norm, and a hidden layer of 512 units."""

import torch
from torch import Tensor, nn


class WideCNN(nn.Module):
    """Classify small images: the hidden layer grows with their area, to 102 million weights at 224 x 224."""

    def __init__(self, channels: int, classes: int, height: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(32)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.hidden = nn.Linear(64 * (height // 4) * (width // 4), 512)
        self.relu3 = nn.ReLU()
        self.linear = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x classes."""
        x = self.pool1(self.relu1(self.norm1(self.conv1(x))))
        x = self.pool2(self.relu2(self.norm2(self.conv2(x))))
        x = self.relu3(self.hidden(torch.flatten(x, 1)))
        logits: Tensor = self.linear(x)
        return logits


def build(channels: int, classes: int, height: int, width: int) -> nn.Module:
    """Build the network for images of channels x height x width."""
    return WideCNN(channels, classes, height, width)
