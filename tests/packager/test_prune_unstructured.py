"""What all techniques promise that set weights to zero: how many, where, and that they stay."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

import models
from packager import recipe
from packager.counting import count
from packager.data import Splits
from packager.prune import Evidence, Pruned, Stage
from packager.prune.schedule import stages
from packager.prune.techniques import TECHNIQUES, technique
from packager.train import evaluate, logits
from runner.errors import StepError

EVIDENCE = Evidence(example=torch.zeros(1, 3, 32, 32), batches=lambda: iter(()), seed=0)
UNSTRUCTURED: list[recipe.PruneMethod] = ["l1", "l1-global", "random"]


def resnet8(seed: int = 0) -> nn.Module:
    """Return the same network each time."""
    torch.manual_seed(seed)
    return models.build("resnet8", 3, 10, 32, 32).eval()


def pruned(module: nn.Module, plan: recipe.Prune, evidence: Evidence = EVIDENCE) -> Pruned:
    """Return the network after the plan's only step."""
    (stage,) = stages(plan)
    return technique(plan.method)(module, plan, stage, evidence)


def zeros(after: Pruned) -> dict[str, int]:
    """Return how many weights of each pruned layer are zero in the network itself."""
    return {name: int((after.module.get_parameter(name) == 0).sum()) for name in after.masks}


def test_every_method_of_a_recipe_has_its_technique() -> None:
    assert set(TECHNIQUES) == {"l1", "l1-global", "random", "2:4", "channels"}


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.7])
@pytest.mark.parametrize("method", UNSTRUCTURED)
def test_the_share_of_zeros_is_exact(method: recipe.PruneMethod, amount: float) -> None:
    module = resnet8()
    after = pruned(module, recipe.Prune(method=method, amount=amount))

    sizes = {name: mask.numel() for name, mask in after.masks.items()}
    assert sum(sizes.values()) == 77_360
    if method == "l1-global":
        assert sum(zeros(after).values()) == round(77_360 * amount)
    else:
        assert zeros(after) == {name: round(size * amount) for name, size in sizes.items()}
    assert count(after.module, EVIDENCE.example).nonzero == count(module, EVIDENCE.example).nonzero - sum(
        zeros(after).values()
    )


@pytest.mark.parametrize("method", [*UNSTRUCTURED, "2:4"])
def test_the_network_that_is_given_stays_as_it_is(method: recipe.PruneMethod) -> None:
    module = resnet8()
    pruned(module, recipe.Prune(method=method))

    assert all(torch.equal(value, resnet8().state_dict()[name]) for name, value in module.state_dict().items())


@pytest.mark.parametrize("method", [*UNSTRUCTURED, "2:4"])
def test_zeros_are_where_the_masks_say_and_the_rest_is_as_it_was(method: recipe.PruneMethod) -> None:
    module = resnet8()
    after = pruned(module, recipe.Prune(method=method))

    for name, value in after.module.state_dict().items():
        before = module.state_dict()[name]
        assert torch.equal(value, before * after.masks[name] if name in after.masks else before)


@pytest.mark.parametrize("method", UNSTRUCTURED)
def test_what_a_step_takes_stays_gone_in_the_next(method: recipe.PruneMethod) -> None:
    """Also where training has moved the weights that are left."""
    plan = recipe.Prune(method=method, amount=0.8, schedule="cubic", steps=3)
    module = resnet8()
    masks: Mapping[str, Tensor] = {}
    for stage in stages(plan):
        after = technique(method)(module, plan, stage, EVIDENCE)
        assert all(not after.masks[name][mask == 0].any() for name, mask in masks.items())
        assert sum(zeros(after).values()) == pytest.approx(77_360 * stage.amount, abs=len(after.masks))
        module, masks = after.module, after.masks
        with torch.no_grad():
            for name, mask in masks.items():
                module.get_parameter(name).add_(torch.randn_like(mask) * mask)


def test_one_ranking_takes_more_from_the_layers_with_smaller_weights() -> None:
    after = pruned(resnet8(), recipe.Prune(method="l1-global", amount=0.5))

    gone = torch.cat([resnet8().get_parameter(name)[mask == 0].abs() for name, mask in after.masks.items()])
    kept = torch.cat([resnet8().get_parameter(name)[mask == 1].abs() for name, mask in after.masks.items()])
    assert gone.max() <= kept.min()
    shares = {name: 1 - float(mask.mean()) for name, mask in after.masks.items()}
    assert shares["conv.weight"] < 0.3
    assert shares["stack3.conv2.weight"] > 0.6


def test_a_layer_that_one_ranking_would_empty_is_named() -> None:
    module = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
    with torch.no_grad():
        module.get_parameter("1.weight").mul_(0.001)

    with pytest.raises(StepError) as caught:
        pruned(module, recipe.Prune(method="l1-global", amount=0.6))
    assert str(caught.value) == (
        "prune.amount: pruning 60% of all weights leaves none in 1\n"
        '  try: a smaller amount, `method = "l1"`, or `keep = ["1"]` in the recipe\'s [prune]'
    )


def test_what_goes_at_random_is_decided_by_the_seed_alone() -> None:
    plan = recipe.Prune(method="random")
    module = resnet8()
    one, other = pruned(module, plan), pruned(module, plan, replace(EVIDENCE, seed=1))
    torch.manual_seed(99)  # what ran before decides nothing
    state = torch.get_rng_state()
    again = pruned(module, plan)

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(mask, again.masks[name]) for name, mask in one.masks.items())
    assert not any(torch.equal(mask, other.masks[name]) for name, mask in one.masks.items())


@pytest.mark.parametrize("method", [*UNSTRUCTURED, "2:4"])
def test_layers_that_are_kept_lose_nothing(method: recipe.PruneMethod) -> None:
    after = pruned(resnet8(), recipe.Prune(method=method, keep=("stack1.*", "*.shortcut", "conv", "linear")))

    assert set(after.masks) == {
        f"{name}.weight" for name in ("stack2.conv1", "stack2.conv2", "stack3.conv1", "stack3.conv2")
    }


@pytest.mark.parametrize("method", [*UNSTRUCTURED, "2:4"])
def test_keeping_everything_leaves_nothing_to_prune_and_that_is_told(method: recipe.PruneMethod) -> None:
    with pytest.raises(StepError) as caught:
        pruned(resnet8(), recipe.Prune(method=method, keep=("*",)))

    assert str(caught.value) == "prune.keep: every layer is kept, and none is left to prune\n  try: fewer patterns"


def test_a_trained_network_answers_as_before_after_a_small_amount(few_splits: Splits, trained: nn.Module) -> None:
    samples, preprocess = few_splits.evaluation, few_splits.preprocess
    before = logits(trained, samples, preprocess).argmax(1)
    _, accuracy = evaluate(trained, samples, preprocess)

    assert accuracy > 0.7
    for method in UNSTRUCTURED[:2]:
        after = pruned(trained, recipe.Prune(method=method, amount=0.2)).module
        assert float((logits(after, samples, preprocess).argmax(1) == before).double().mean()) >= 0.98


def test_a_stage_decides_the_amount_and_not_the_plan() -> None:
    plan = recipe.Prune(method="l1", amount=0.9)
    after = technique("l1")(resnet8(), plan, Stage(before=0.0, amount=0.25), EVIDENCE)

    assert sum(zeros(after).values()) == 77_360 // 4
