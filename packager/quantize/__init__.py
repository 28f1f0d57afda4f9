"""How int8 artifacts are made. One technique, one file.

A technique for TorchScript takes the network and returns a network; one for ONNX takes a file and returns a file, but
for PT2E, which takes the network and returns one that is exported to ONNX. A technique that trains (QAT) has `prepare`,
which puts the rounding of int8 into the network, and `convert`, which after the training makes the integers of it.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import nn

from packager import recipe
from packager.layers import matches as matches
from packager.quantize.calibration import Calibration
from runner.manifest import Target

NOT_DYNAMIC = "--quantize static"
Kernels = Literal["onnxruntime", "xnnpack"]
"""Whose integer arithmetic PT2E writes down: what it rounds, and to which integers, is what these can compute."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is asked of a technique, beside the network."""

    target: Target
    plan: recipe.Quantize
    calibration: Calibration
    kernels: Kernels = "onnxruntime"
    """For PT2E alone: the other techniques have their one runtime."""

    @property
    def per_channel(self) -> bool:
        """Whether weights have one scale per output channel, or one per tensor."""
        return self.target.per_channel if self.plan.per_channel is None else self.plan.per_channel

    def stays_fp32(self, layer: str) -> bool:
        """Say whether the recipe leaves the layer of this name in fp32."""
        return matches(layer, self.plan.keep_fp32)


class Trainable(Protocol):
    """A technique whose rounding a network can learn to bear."""

    def prepare(self, module: nn.Module, order: Order) -> nn.Module:
        """Return a copy that rounds as int8 will, and can be trained. Raises StepError naming the failing layer."""

    def convert(self, prepared: nn.Module, order: Order) -> nn.Module:
        """Return the int8 network that a trained copy has become."""
