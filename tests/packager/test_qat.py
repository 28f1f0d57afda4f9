"""Training with the rounding in: what was pruned stays pruned, and each plan trains for itself."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.ao.nn.quantized import Conv2d, Linear

import targets
from packager import qat, recipe
from packager.builders import BuildContext
from packager.data import Splits
from packager.network import Network, Workbench
from packager.prune import l1
from packager.quantize import Order, fx
from packager.recipe import Prune, Qat, Quantize, Recipe
from runner.errors import StepError
from tests import contexts
from tests.contexts import bench

PLAN = Quantize(qat=Qat(epochs=1, learning_rate=0.01, distil=0.0))


def half_of(module: nn.Module) -> Network:
    """Return the network with half of its weights at zero."""
    module = copy.deepcopy(module)
    masks = l1.masks(module, Prune())
    state = {name: value * masks[name] if name in masks else value for name, value in module.state_dict().items()}
    module.load_state_dict(state)
    return Network(model=module, key="1" * 64, masks=masks)


@pytest.fixture
def work(few_splits: Splits, tmp_path: Path) -> Workbench:
    """Return where a network is trained on with batches of 40."""
    return bench(few_splits, tmp_path, Recipe(train=recipe.Train(batch_size=40, compute="cpu")))


@pytest.fixture
def context(trained: nn.Module, work: Workbench) -> BuildContext:
    """Return a context for a pruned network."""
    whole = contexts.context(trained, work, PLAN)
    return replace(whole, network=half_of(whole.network.module))


def order(context: BuildContext, plan: Quantize = PLAN) -> Order:
    return replace(context.order(targets.load("x86")), plan=plan)


def qat_context(context: BuildContext) -> qat.QatContext:
    return qat.QatContext(technique="fx", network=context.network, teacher=context.teacher.module, bench=context.bench)


def test_weights_that_were_pruned_stay_zero(context: BuildContext) -> None:
    found = qat.learned(fx, context.network.module, order(context), qat_context(context))

    assert [epoch.stage for epoch in found.epochs] == ["qat"]
    layers = [layer for layer in found.module.modules() if isinstance(layer, Conv2d | Linear)]
    integers = [layer.weight().int_repr() for layer in layers]
    assert len(integers) == len(context.network.masks)
    for weight, mask in zip(integers, context.network.masks.values(), strict=True):
        assert not torch.any(weight[mask == 0])


def test_pruned_weights_that_cannot_be_followed_are_told(context: BuildContext) -> None:
    lost = replace(context.network, masks={"elsewhere.weight": torch.ones(3)})
    with pytest.raises(StepError) as caught:
        qat.learned(fx, context.network.module, order(context), replace(qat_context(context), network=lost))
    assert str(caught.value) == (
        "1 of 1 pruned weights would not stay zero in the training\n"
        "  try: --prune-method channels, or static quantization without [quantize.qat]"
    )


def test_what_changes_nothing_of_the_training_does_not_train_again(context: BuildContext) -> None:
    first = qat.learned(fx, context.network.module, order(context), qat_context(context))
    told = replace(PLAN, sensitivity=True, operators="qoperator")
    again = qat.learned(fx, context.network.module, order(context, told), qat_context(context))
    per_tensor = order(context, replace(PLAN, per_channel=False))
    other = qat.learned(fx, context.network.module, per_tensor, qat_context(context))

    assert first.epochs == again.epochs
    assert first.epochs[0].duration_s != other.epochs[0].duration_s
