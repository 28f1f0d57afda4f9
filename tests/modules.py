"""Small networks for images of 1 x 28 x 28, each with a trait that an exporter or quantizer must bear or refuse."""

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """Turns round what is negative on the whole: one `if` that depends on the data."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x or -x."""
        return x if x.mean() > 0 else -x


class Block(nn.Module):
    """A convolution and a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, stride=4)
        self.gate = Gate()

    def forward(self, x: Tensor) -> Tensor:
        """Return features, N x 2 x 6 x 6."""
        features: Tensor = self.gate(self.conv(x))
        return features


class Gated(nn.Module):
    """No tracer can follow it, because of `block.gate`."""

    def __init__(self) -> None:
        super().__init__()
        self.block = Block()
        self.linear = nn.Linear(72, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        logits: Tensor = self.linear(torch.flatten(self.block(x), 1))
        return logits


class FixedBatch(nn.Module):
    """Takes one image and no more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 5, stride=4)
        self.linear = nn.Linear(72, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, 1 x 4."""
        logits: Tensor = self.linear(self.conv(x).view(1, -1))
        return logits


class Unrolled(FixedBatch):
    """Takes any number of images, one after the other: a trace of it has as many turns as its example has images."""

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        return torch.cat([self.linear(self.conv(image[None]).view(1, -1)) for image in x])


class Residual(nn.Module):
    """A block with a shortcut, whose one ReLU serves three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.conv1 = nn.Conv2d(8, 8, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.linear = nn.Linear(32, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.relu(self.norm(self.conv(x)))
        y = self.norm2(self.conv2(self.relu(self.norm1(self.conv1(x)))))
        logits: Tensor = self.linear(torch.flatten(self.pool(self.relu(x + y)), 1))
        return logits


class OnePixel(nn.Module):
    """Convolutions down to 1 x 1 pixels, and a mean over these, as ShuffleNet has for small images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 7, stride=7)
        self.conv2 = nn.Conv2d(8, 16, 4)
        self.relu = nn.ReLU()
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.relu(self.conv2(self.relu(self.conv1(x))))
        logits: Tensor = self.linear(x.mean([2, 3]))
        return logits


class Convolutional(nn.Module):
    """Has no linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 28)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        logits: Tensor = torch.flatten(self.conv(x), 1)
        return logits


class Scaled(nn.Module):
    """Makes a Python number of its own buffer, which is the same for every input, and of a shape."""

    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(0.5))
        self.linear = nn.Linear(784, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        if x.shape[1] != 1:
            raise ValueError(f"one channel is expected, not {x.shape[1]}")
        logits: Tensor = self.linear(torch.flatten(x, 1) * float(self.scale))
        return logits


class Normalized(nn.Module):
    """Two normalizations whose weights are equal, as those of transformers are before any training."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm, self.again = nn.Linear(784, 16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.last = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits for 1 x 28 x 28 images."""
        features: Tensor = self.norm(self.linear(x.flatten(1)))
        logits: Tensor = self.last(features + self.again(features.relu()))
        return logits


class Attention(nn.Module):
    """Attention among the rows of an image, each of which is a token; answers shares of a whole, as some do."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.keys, self.values = nn.LayerNorm(28), nn.Linear(28, 16), nn.Linear(28, 16)
        self.last = nn.Linear(28 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return probabilities for 1 x 28 x 28 images."""
        tokens = self.norm(x.squeeze(1))
        keys = self.keys(tokens)
        mixed = (keys @ keys.transpose(1, 2)).softmax(-1) @ self.values(tokens)
        return torch.softmax(self.last(mixed.flatten(1)), 1)


def settled(module: nn.Module, images: Tensor) -> nn.Module:
    """Return the network in eval mode, with batch-norm statistics of these images."""
    module.train()
    with torch.no_grad():
        for _ in range(20):
            module(images)
    return module.eval()
