"""Training with the rounding in: what was pruned stays pruned, and each plan trains for itself."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import Conv2d, Linear

import targets
from packager import qat, recipe
from packager.data import Splits
from packager.network import Network, Workbench
from packager.prune import l1
from packager.quantize import Order, fx
from packager.recipe import Prune, Qat, Quantize, Recipe
from packager.roads import Workshop
from runner.errors import StepError
from tests.workshops import bench, shop

PLAN = Quantize(qat=Qat(epochs=1, learning_rate=0.01, distil=0.0))


def half_of(module: nn.Module) -> Network:
    """Return the network with half of its weights at zero."""
    masks = l1.masks(module, Prune())
    state = {name: value * masks[name] if name in masks else value for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    return Network(model=module, key="1" * 64, masks=masks)


@pytest.fixture
def work(few_splits: Splits, tmp_path: Path) -> Workbench:
    """Return where a network is trained on with batches of 40."""
    return bench(few_splits, tmp_path, Recipe(train=recipe.Train(batch_size=40, compute="cpu")))


@pytest.fixture
def workshop(trained: nn.Module, work: Workbench) -> Workshop:
    """Return a workshop for a pruned network."""
    whole = shop(trained, work, PLAN)
    return replace(whole, network=half_of(whole.network.module))


def order(workshop: Workshop, plan: Quantize = PLAN) -> Order:
    return replace(workshop.order(targets.load("x86")), plan=plan)


def school(workshop: Workshop) -> qat.School:
    return qat.School(technique="fx", network=workshop.network, teacher=workshop.teacher.module, bench=workshop.bench)


def test_weights_that_were_pruned_stay_zero(workshop: Workshop) -> None:
    found = qat.learned(fx, workshop.network.module, order(workshop), school(workshop))

    assert [epoch.stage for epoch in found.epochs] == ["qat"]
    layers = [layer for layer in found.module.modules() if isinstance(layer, Conv2d | Linear)]
    integers = [layer.weight().int_repr() for layer in layers]
    assert len(integers) == len(workshop.network.masks)
    for weight, mask in zip(integers, workshop.network.masks.values(), strict=True):
        assert not torch.any(weight[mask == 0])


def test_pruned_weights_that_cannot_be_followed_are_told(workshop: Workshop) -> None:
    lost = replace(workshop.network, masks={"elsewhere.weight": torch.ones(3)})
    with pytest.raises(StepError) as caught:
        qat.learned(fx, workshop.network.module, order(workshop), replace(school(workshop), network=lost))
    assert str(caught.value) == (
        "1 of 1 pruned weights would not stay zero in the training\n"
        "  try: --prune-method channels, or static quantization without [quantize.qat]"
    )


def test_what_changes_nothing_of_the_training_does_not_train_again(workshop: Workshop) -> None:
    first = qat.learned(fx, workshop.network.module, order(workshop), school(workshop))
    told = replace(PLAN, sensitivity=True, operators="qoperator")
    again = qat.learned(fx, workshop.network.module, order(workshop, told), school(workshop))
    other = qat.learned(
        fx, workshop.network.module, order(workshop, replace(PLAN, per_channel=False)), school(workshop)
    )

    assert first.epochs == again.epochs
    assert first.epochs[0].duration_s != other.epochs[0].duration_s
