"""What a pattern of a recipe stands for."""

import pytest
from torch import nn

import models
from packager import layers
from runner.errors import StepError


@pytest.mark.parametrize(
    ("layer", "pattern", "holds"),
    [
        ("stack1.conv1", "stack1.conv1", True),
        ("stack1.conv1", "stack1", True),
        ("stack1.conv1", "stack1.*", True),
        ("stack1.conv1", "*.conv?", True),
        ("stack10.conv1", "stack1", False),
        ("stack1", "stack1.*", False),
        ("conv", "Conv", False),
    ],
)
def test_a_pattern_names_layers_and_whole_parts(layer: str, pattern: str, *, holds: bool) -> None:
    assert layers.matches(layer, ["nothing", pattern]) is holds


def test_a_pattern_that_names_nothing_is_told_with_the_nearest_name() -> None:
    module = models.build("resnet8", 3, 10, 32, 32)
    layers.check(module, ["stack1.*", "linear"], "prune.keep")

    with pytest.raises(StepError) as caught:
        layers.check(module, ["linear", "stak1"], "prune.keep")
    assert str(caught.value) == ("prune.keep: 'stak1' names no layer of the network\n  try: did you mean 'stack1'?")
    with pytest.raises(StepError, match="names of the network's, such as 0"):
        layers.check(nn.Sequential(nn.Linear(1, 1)), ["backbone"], "prune.keep")
