"""The architectures that come with edgepack: plain modules, each in a file that reads from top to bottom."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from torch import nn

ANY_TORCHVISION = "torchvision:"

_own = {
    "small_cnn": "two 3x3 convolutions, 16 and 32 channels, and one linear layer",
    "wide_cnn": "two 3x3 convolutions with batch norm, 32 and 64 channels, and a hidden layer of 512",
    "resnet8": "MLPerf Tiny's image classification network, about 78,000 parameters",
}
_torchvision = {
    "resnet18": "torchvision's ResNet-18; for images up to 64 pixels with the stem for CIFAR",
    "resnet50": "torchvision's ResNet-50; for images up to 64 pixels with the stem for CIFAR",
    "mobilenet_v2": "torchvision's MobileNetV2",
    "mobilenet_v3_large": "torchvision's MobileNetV3 Large",
    "shufflenet_v2_x0_5": "torchvision's ShuffleNetV2 at half width",
    "efficientnet_v2_s": "torchvision's EfficientNetV2 S",
}


class _Architecture(Protocol):
    def build(self, channels: int, classes: int, height: int, width: int) -> nn.Module: ...


def names() -> Mapping[str, str]:
    """Return each model that has a name of its own, with a line on it. `torchvision:NAME` gives any other."""
    return _own | _torchvision


def build(name: str, channels: int, classes: int, height: int, width: int) -> nn.Module:
    """Build a model with random weights for images of channels x height x width. Raises ValueError."""
    if name in _own:
        architecture = cast("_Architecture", importlib.import_module(f"models.{name}"))
        return architecture.build(channels, classes, height, width)
    if name not in _torchvision and not name.startswith(ANY_TORCHVISION):
        raise ValueError(f"unknown model {name!r}")
    from models import torchvision_zoo  # noqa: PLC0415 - torchvision takes seconds, and our own models do without

    return torchvision_zoo.build(name.removeprefix(ANY_TORCHVISION), channels, classes, (height, width))
