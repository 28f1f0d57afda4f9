"""A network that cannot be traced or exported: the innermost layer that it was in is named."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from packager.failing_layer import failing_layer

EXAMPLE = torch.zeros(1, 3, 8, 8)


class Gate(nn.Module):
    """A layer that decides by its input."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the input, or its opposite."""
        return x if x.sum() > 0 else -x


class Broken(nn.Module):
    """A layer that fails."""

    def forward(self, _: Tensor) -> Tensor:
        """Fail."""
        raise RuntimeError("broken")


class Block(nn.Module):
    """A block of a convolution and something else."""

    def __init__(self, gate: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        """Apply both."""
        return self.gate(self.conv(x))  # type: ignore[no-any-return]  # a module may return anything


class Own(nn.Module):
    """A network that fails outside of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Fail behind the convolution."""
        return self.conv(x).reshape(7, 7)  # type: ignore[no-any-return]  # as above


class Unhurt(nn.Module):
    """A network that fails over another layer after one was left in good order."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())
        self.second = nn.Linear(9, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Apply both, the second to what does not fit it."""
        return self.second(self.first(x))  # type: ignore[no-any-return]  # as above


def run(module: nn.Module) -> object:
    """Run the network on an example."""
    return module(EXAMPLE)


def export(module: nn.Module) -> object:
    """Do what the ONNX exporter does first."""
    with warnings.catch_warnings(action="ignore"):
        return torch.export.export(module, (EXAMPLE,))


def hooks(module: nn.Module) -> int:
    """Count the hooks of a network."""
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in module.modules())


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        (nn.Sequential(Block(nn.ReLU()), Block(Broken())), "1.gate (Broken)"),
        (Block(nn.Sequential(nn.ReLU(), nn.Sequential(Broken()))), "gate.1.0 (Broken)"),
        (nn.Sequential(nn.Conv2d(4, 3, 3)), "0 (Conv2d)"),
        (Unhurt(), "second (Linear)"),
        (Own(), "the network itself (Own)"),
        (Broken(), "the network itself (Broken)"),
    ],
)
def test_the_innermost_layer_that_fails_is_named(module: nn.Module, layer: str) -> None:
    assert failing_layer(module, run) == layer
    assert hooks(module) == 0


def test_a_layer_that_decides_by_its_input_is_named_by_the_exporter_s_attempt() -> None:
    module = nn.Sequential(Block(nn.ReLU()), Block(Gate())).eval()
    with pytest.raises(Exception, match="data-dependent"):
        export(module)
    assert failing_layer(module, export) == "1.gate (Gate)"
    assert hooks(module) == 0


def test_an_attempt_that_succeeds_the_second_time_names_no_layer() -> None:
    module = Block(nn.ReLU())
    assert failing_layer(module, run) == "the network itself"
    assert hooks(module) == 0


def test_an_attempt_that_fails_before_the_network_is_run_names_no_layer() -> None:
    def attempt(_: nn.Module) -> object:
        raise ValueError("no example")

    assert failing_layer(Block(nn.ReLU()), attempt) == "the network itself"


def test_a_layer_that_is_used_twice_is_named_by_its_first_place() -> None:
    shared = Broken()
    assert failing_layer(nn.Sequential(nn.ReLU(), shared, shared), run) == "1 (Broken)"
