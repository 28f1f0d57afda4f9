"""Into which stages a network falls."""

import pytest
import torch
from torch import Tensor, nn

import models
from packager.recipe import Prune
from packager.tune.stages import MOST, stages


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("wide_cnn", (("conv1",), ("conv2",), ("hidden",))),
        # The last linear layer has the classes to answer, and no channels to lose.
        ("resnet8", (("conv",), ("stack1",), ("stack2",), ("stack3",))),
        ("resnet18", (("conv1",), ("layer1",), ("layer2",), ("layer3",), ("layer4",))),
    ],
)
def test_stages_are_the_outermost_parts_with_channels_to_lose(name: str, expected: tuple[tuple[str, ...], ...]) -> None:
    module = models.build(name, 1, 4, 32, 32).eval()
    assert stages(module, torch.zeros(1, 1, 32, 32), Prune()) == expected


def test_a_network_in_one_part_is_entered_and_many_parts_are_taken_together() -> None:
    module = models.build("mobilenet_v2", 3, 4, 64, 64).eval()
    found = stages(module, torch.zeros(1, 3, 64, 64), Prune())
    assert len(found) == MOST
    names = [name for stage in found for name in stage]
    assert names == sorted(names, key=lambda name: int(name.removeprefix("features.")))
    assert names[0] == "features.0"
    assert names[-1] == "features.18"


def test_what_the_recipe_keeps_is_no_stage() -> None:
    module = models.build("wide_cnn", 1, 4, 28, 28).eval()
    assert stages(module, torch.zeros(1, 1, 28, 28), Prune(keep=("conv*",))) == (("hidden",),)


def test_where_as_many_stay_as_there_are_is_no_stage() -> None:
    module = models.build("wide_cnn", 1, 4, 28, 28).eval()
    assert stages(module, torch.zeros(1, 1, 28, 28), Prune(round_to=32)) == (("conv2",), ("hidden",))


class Only(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.linear(x.flatten(1))
        return answers


def test_where_nothing_can_go_there_are_no_stages() -> None:
    assert stages(Only().eval(), torch.zeros(1, 1, 4, 4), Prune()) == ()
