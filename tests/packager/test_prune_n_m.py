"""2:4: of every four neighbouring input channels two weights stay, and they are the larger ones."""

import pytest
import torch
from torch import nn

import models
from packager import recipe
from packager.prune import Evidence, Stage
from packager.prune.techniques import technique
from runner.errors import StepError

PLAN = recipe.Prune(method="2:4")
STAGE = Stage(before=0.0, amount=0.5)
EVIDENCE = Evidence(example=torch.zeros(1, 3, 32, 32), batches=lambda: iter(()), seed=0)


def test_two_of_every_four_input_channels_stay_at_each_place_of_the_kernel() -> None:
    torch.manual_seed(0)
    module = models.build("resnet8", 3, 10, 32, 32)
    pruned = technique("2:4")(module, PLAN, STAGE, EVIDENCE)

    for name, mask in pruned.masks.items():
        before, after = module.get_parameter(name).detach(), pruned.module.get_parameter(name)
        for part in range(0, before.shape[1], 4):
            four, kept = before[:, part : part + 4].abs(), mask[:, part : part + 4].bool()
            assert (kept.sum(1) == 2).all()
            smallest_kept = four.masked_fill(~kept, torch.inf).amin(1)
            largest_gone = four.masked_fill(kept, 0).amax(1)
            assert (smallest_kept >= largest_gone).all()
        assert torch.equal(after, before * mask)
        assert int((after == 0).sum()) == after.numel() // 2


def test_ties_leave_two_as_well() -> None:
    module = nn.Sequential(nn.Linear(8, 2))
    nn.init.ones_(module.get_parameter("0.weight"))
    mask = technique("2:4")(module, PLAN, STAGE, EVIDENCE).masks["0.weight"]

    assert mask.view(-1, 4).sum(1).tolist() == [2, 2, 2, 2]


def test_layers_whose_input_is_no_multiple_of_four_stay() -> None:
    """The first, with three colours, and depthwise ones, with one channel each."""
    module = models.build("mobilenet_v2", 3, 10, 32, 32)
    masks = technique("2:4")(module, PLAN, STAGE, EVIDENCE).masks

    convolutions = {name: layer for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    qualify = {name for name, layer in convolutions.items() if layer.weight.shape[1] % 4 == 0}
    assert {name.removesuffix(".weight") for name in masks} == qualify
    assert {name for name in convolutions if name not in qualify} >= {"features.0.0", "features.1.conv.0.0"}


def test_a_network_without_such_a_layer_is_refused_in_words() -> None:
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 1), nn.Flatten(), nn.Linear(5, 2))

    with pytest.raises(StepError) as caught:
        technique("2:4")(module, PLAN, STAGE, EVIDENCE)
    assert str(caught.value) == (
        "prune.method: 2:4 takes layers whose input channels are a multiple of four, and there is none: 0 3, 1 6, 3 5\n"
        '  try: `method = "l1"` or `method = "channels"` in the recipe\'s [prune]'
    )
