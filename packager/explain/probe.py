"""A probe: a file made from an artifact that computes the same, and also returns what lies between its layers."""

from dataclasses import dataclass
from pathlib import Path

from runner.manifest import Precision


@dataclass(frozen=True, kw_only=True, slots=True)
class Layer:
    """Where a tensor comes from that a probe returns."""

    name: str
    """As the network has it where the file tells, otherwise the operator's type and its running number."""
    operator: str
    """What computes it: `QLinearConv`, `quantized::conv2d_relu`. Several are joined: `Conv + QuantizeLinear`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """A probe's bytes, and what its outputs after the logits are, in the graph's order."""

    content: bytes
    layers: tuple[Layer, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """A probe in a file of its own, ready to be run beside its artifact."""

    artifact: str
    precision: Precision
    path: Path
    layers: tuple[Layer, ...]
    """Of its outputs after the logits, in the graph's order."""
