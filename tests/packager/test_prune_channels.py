"""Channels leave the network: as many as asked for, the least important, and all that hangs on them."""

import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

import models
from packager import recipe
from packager.counting import count
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.prune import Evidence, Stage
from packager.prune.coupled import coupled, without
from packager.prune.importance import MEASURES
from packager.prune.schedule import stages
from packager.prune.techniques import technique
from packager.train import Job, evaluate, train
from runner.errors import StepError
from runner.progress import Silent

IMAGE = torch.zeros(1, 3, 32, 32)
PLAN = recipe.Prune(method="channels", amount=0.5)


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """Yield two batches, the same each time."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        yield torch.randn(4, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 3])


EVIDENCE = Evidence(example=IMAGE, batches=batches, seed=0)


def built(name: str, classes: int = 10) -> nn.Module:
    """Return the same network each time, its batch norms unlike one another."""
    torch.manual_seed(0)
    module = models.build(name, 3, classes, 32, 32).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    return module


def pruned(module: nn.Module, plan: recipe.Prune, evidence: Evidence = EVIDENCE) -> nn.Module:
    """Return the network after all steps of the plan, without training between them."""
    for stage in stages(plan):
        module = technique("channels")(module, plan, stage, evidence).module
    return module


def widths(module: nn.Module) -> dict[str, int]:
    """Return the output channels of each convolution and linear layer."""
    return {
        name: layer.weight.shape[0]
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    }


def gone(module: nn.Module, after: nn.Module, of: recipe.Share) -> float:
    """Return the share that has gone."""
    before, now = count(module, IMAGE), count(after, IMAGE)
    return 1 - (now.macs / before.macs if of == "macs" else now.parameters / before.parameters)


def test_half_the_channels_of_each_layer_are_gone_and_the_classes_are_not() -> None:
    module = built("resnet8")
    after = pruned(module, PLAN)

    assert widths(after) == {name: 10 if name == "linear" else width // 2 for name, width in widths(module).items()}
    stack1, stack2 = 2 * (8 * 8 * 9) * 32 * 32, (8 * 16 * 9 + 16 * 16 * 9 + 8 * 16) * 16 * 16
    stack3 = (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32) * 8 * 8
    assert count(after, IMAGE).macs == 3 * 8 * 9 * 32 * 32 + stack1 + stack2 + stack3 + 32 * 10
    assert after(IMAGE.expand(3, -1, -1, -1)).shape == (3, 10)
    assert module.state_dict().keys() == after.state_dict().keys()


def test_as_many_classes_as_channels_are_not_taken_for_channels() -> None:
    for name in ("resnet8", "torchvision:squeezenet1_1"):
        after = pruned(built(name, classes=64), PLAN)
        assert list(widths(after).values())[-1] == 64
        assert after(IMAGE).shape == (1, 64)


@pytest.mark.parametrize(("of", "across_layers"), [("macs", False), ("parameters", True)])
def test_so_much_goes_of_what_the_amount_is_a_share_of(of: recipe.Share, *, across_layers: bool) -> None:
    """At least the share, and no more above it than the last cut took: here two points of a hundred."""
    module = built("mobilenet_v2")
    after = pruned(module, replace(PLAN, of=of, across_layers=across_layers))

    assert 0.5 <= gone(module, after, of) < 0.52
    assert after(IMAGE).shape == (1, 10)


@pytest.mark.parametrize(("round_to", "most"), [(8, 0.6), (4, 0.54), (1, 0.51)])
def test_layers_keep_a_multiple_of_channels_which_decides_how_near_the_share_is_met(round_to: int, most: float) -> None:
    module = built("resnet8")
    after = pruned(module, replace(PLAN, of="macs", round_to=round_to))

    assert all(width % round_to == 0 for name, width in widths(after).items() if name != "linear")
    assert 0.5 <= gone(module, after, "macs") < most


def test_widths_are_rounded_to_the_nearest_multiple() -> None:
    after = pruned(built("resnet8"), replace(PLAN, amount=0.3))

    assert {name: width for name, width in widths(after).items() if name.startswith("stack")} == {
        **dict.fromkeys(["stack1.conv1", "stack1.conv2"], 8),  # 11.2
        **dict.fromkeys(["stack2.conv1", "stack2.conv2", "stack2.shortcut"], 24),  # 22.4
        **dict.fromkeys(["stack3.conv1", "stack3.conv2", "stack3.shortcut"], 48),  # 44.8
    }


def test_no_layer_vanishes() -> None:
    after = pruned(built("resnet8"), replace(PLAN, amount=0.99))

    assert set(widths(after).values()) == {8, 10}
    assert after(IMAGE).shape == (1, 10)


def test_layers_narrower_than_one_multiple_stay_as_they_are() -> None:
    module = built("mobilenet_v2")
    after = pruned(module, replace(PLAN, round_to=64))

    before = widths(module)
    assert {name: width for name, width in widths(after).items() if width < 64} == {
        name: width for name, width in before.items() if width < 64
    }
    assert widths(after)["features.18.0"] == 640


def test_one_ranking_leaves_layers_of_unequal_shares() -> None:
    module = built("resnet8")
    with torch.no_grad():
        for layer in (module.get_submodule("stack2.conv1"), module.get_submodule("stack2.norm1")):
            layer.get_parameter("weight")[8:].mul_(0.01)
    after = pruned(module, replace(PLAN, amount=0.3, across_layers=True))

    total = {
        "conv": 16,
        "stack1.conv1": 16,
        "stack2.conv1": 32,
        "stack2.conv2": 32,
        "stack3.conv1": 64,
        "stack3.conv2": 64,
    }
    assert widths(after)["stack2.conv1"] == 8
    assert sum(widths(after)[name] for name in total) == pytest.approx(0.7 * sum(total.values()), abs=4)


def test_layers_that_are_kept_keep_their_channels() -> None:
    module = built("resnet8")
    after = pruned(module, replace(PLAN, keep=("stack1.*", "stack3.shortcut")))

    same = {name for name, width in widths(after).items() if width == widths(module)[name]}
    # What is added to the output of a kept layer has to keep its channels too.
    assert same == {"conv", "stack1.conv1", "stack1.conv2", "stack3.conv2", "stack3.shortcut", "linear"}


def test_a_layer_may_have_a_share_of_its_own() -> None:
    plan = replace(PLAN, amounts={"stack3.conv1": 0.75, "stack1": 0.0})
    expected = {"stack3.conv1": 16, "stack3.conv2": 32, "stack2.conv1": 16, "stack1.conv1": 16, "conv": 16}
    for steps in (plan, replace(plan, schedule="linear", steps=4)):
        after = widths(pruned(built("resnet8"), steps))
        assert {name: after[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("schedule", "of"), [("linear", "channels"), ("cubic", "channels"), ("linear", "macs"), ("cubic", "parameters")]
)
def test_several_steps_end_where_one_does(schedule: recipe.PruneSchedule, of: recipe.Share) -> None:
    """Each counts shares of the unpruned network, whatever the rounding of those before it has come to."""
    module, plan = built("resnet8"), replace(PLAN, of=of, schedule=schedule, steps=3)
    after = pruned(module, plan)

    assert widths(after) == widths(pruned(module, replace(plan, schedule="one-shot")))
    first = technique("channels")(module, plan, stages(plan)[0], EVIDENCE).module
    assert sum(widths(after).values()) < sum(widths(first).values()) < sum(widths(module).values())


class Small(nn.Module):
    """One convolution of 16 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3)
        self.norm = nn.BatchNorm2d(16)
        self.linear = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 10."""
        logits: Tensor = self.linear(torch.relu(self.norm(self.conv(x))).mean((2, 3)))
        return logits


WORTHLESS = [1, 2, 5, 11]


@pytest.mark.parametrize(
    ("importance", "layer"), [("l1", "conv"), ("l2", "conv"), ("batch-norm", "norm"), ("taylor", "linear")]
)
def test_the_channels_that_are_worth_least_go(importance: recipe.Importance, layer: str) -> None:
    """Small weights, a small scale, or no effect on the answers, however large the weights before it."""
    torch.manual_seed(0)
    module = Small().eval()
    weight = module.get_submodule(layer).get_parameter("weight")
    with torch.no_grad():
        if layer == "linear":
            weight[:, WORTHLESS] = 0
        else:
            weight[WORTHLESS] = 0.001
    after = pruned(module, replace(PLAN, amount=0.25, importance=importance, round_to=1))

    left = [channel for channel in range(16) if channel not in WORTHLESS]
    assert torch.equal(after.get_parameter("conv.weight"), module.conv.weight[left])
    assert torch.equal(after.get_parameter("norm.bias"), module.norm.bias[left])
    assert torch.equal(after.get_buffer("norm.running_var"), module.norm.get_buffer("running_var")[left])
    assert torch.equal(after.get_parameter("linear.weight"), module.linear.weight[:, left])


@pytest.mark.parametrize(
    "name", ["small_cnn", "wide_cnn", "resnet8", "mobilenet_v2", "mobilenet_v3_large", "torchvision:squeezenet1_1"]
)
def test_a_pruned_network_answers_as_the_whole_one_whose_channels_are_zero(name: str) -> None:
    """Through residuals, depthwise convolutions, squeeze-excite, concatenation and flattening."""
    module, image = built(name), torch.randn(2, 3, 32, 32)
    groups = [group for group in coupled(module, IMAGE, MEASURES["l1"]) if group.width > 8]
    after = without(module, IMAGE, {group.layers[0]: group.going(8) for group in groups}).eval()

    silenced = copy.deepcopy(module)
    with torch.no_grad():
        for group in groups:
            for layer in group.layers:
                for value in silenced.get_submodule(layer).parameters(recurse=False):
                    value[group.going(8)] = 0
        assert count(after, IMAGE).macs < count(module, IMAGE).macs / 2
        torch.testing.assert_close(after(image), silenced(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("importance", ["taylor", "random"])
def test_the_same_inputs_give_the_same_bits(importance: recipe.Importance) -> None:
    plan, module = replace(PLAN, importance=importance, across_layers=True), built("resnet8")
    one = pruned(module, plan)
    torch.manual_seed(99)  # what ran before decides nothing
    state = torch.get_rng_state()
    again = pruned(module, plan)

    assert torch.equal(torch.get_rng_state(), state)
    assert one.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in one.state_dict().items())


def test_another_seed_takes_other_channels_at_random() -> None:
    plan, module = replace(PLAN, importance="random"), built("resnet8")
    one, other = pruned(module, plan), pruned(module, plan, replace(EVIDENCE, seed=1))

    assert widths(one) == widths(other)
    assert not torch.equal(one.get_parameter("conv.weight"), other.get_parameter("conv.weight"))


@pytest.mark.parametrize("importance", ["l1", "taylor"])
def test_the_network_that_is_given_stays_as_it_is(importance: recipe.Importance) -> None:
    module = built("resnet8").train()
    module.get_parameter("conv.weight").requires_grad = False
    after = pruned(module, replace(PLAN, importance=importance))

    assert all(torch.equal(value, built("resnet8").state_dict()[name]) for name, value in module.state_dict().items())
    assert module.training
    assert [name for name, value in after.named_parameters() if not value.requires_grad] == ["conv.weight"]
    assert all(value.grad is None for network in (module, after) for value in network.parameters())


def test_a_pruned_network_is_fine_tuned_copied_and_exported(few_splits: Splits, trained: nn.Module) -> None:
    example = torch.zeros(1, 1, 28, 28)
    evidence = Evidence(example=example, batches=batches, seed=0)
    tuning = recipe.Train(epochs=1, batch_size=32, learning_rate=0.001, compute="cpu")
    after = pruned(trained, replace(PLAN, of="macs"), evidence)
    tuned = train(after, Job(plan=tuning, splits=few_splits, seed=0, stage="prune"), Silent()).module

    _, accuracy = evaluate(trained, few_splits.evaluation, few_splits.preprocess)
    _, left = evaluate(tuned, few_splits.evaluation, few_splits.preprocess)
    assert left > accuracy - 0.05 > 0.7
    exported = onnx_export.export(copy.deepcopy(tuned), example, 20)
    assert exported.dynamic_batch
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    images = torch.randn(3, 1, 28, 28)
    (answers,) = session.run(None, {"input": images.numpy()})
    np.testing.assert_allclose(answers, tuned(images).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_a_shuffle_of_channels_keeps_its_width_and_the_branches_between_are_pruned() -> None:
    module = built("shufflenet_v2_x0_5")
    after = pruned(module, PLAN)

    assert gone(module, after, "macs") > 0.2
    assert after(IMAGE.expand(2, -1, -1, -1)).shape == (2, 10)
    smaller = {name for name, width in widths(after).items() if width < widths(module)[name]}
    assert {name.split(".")[2] for name in smaller} == {"branch2"}
    assert "stage3.1.branch2.0" in smaller


def test_a_transformer_keeps_its_width_and_its_hidden_layers_are_pruned() -> None:
    module = VisionTransformer(
        image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64, num_classes=10
    ).eval()
    after = pruned(module, PLAN)

    smaller = {name: width for name, width in widths(after).items() if width < widths(module)[name]}
    assert smaller == {f"encoder.layers.encoder_layer_{number}.mlp.0": 32 for number in range(2)}


def test_a_network_that_cannot_lose_channels_is_refused_with_its_layers() -> None:
    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(3, 16, 3), nn.Linear(16, 10)

        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.linear(self.conv(x).view(len(x), 16, 900).mean(2))
            return logits

    with pytest.raises(StepError) as caught:
        pruned(Fixed(), PLAN)
    assert str(caught.value) == (
        "the network does not run with fewer channels in conv: "
        "RuntimeError: shape '[1, 16, 900]' is invalid for input of size 7200\n"
        '  try: `method = "l1"` in the recipe\'s [prune], which leaves the channels as they are'
    )


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (
            replace(PLAN, round_to=64),
            "prune: no channels can go: layers keep a multiple of 64, and none has more than one, conv2 32, conv1 16\n"
            "  try: a smaller `round_to` or a shorter `keep` in the recipe's [prune]",
        ),
        (
            replace(PLAN, keep=("conv*",)),
            "prune: no channels can go: `keep` holds all layers that have some to lose, conv2 32, conv1 16\n"
            "  try: a smaller `round_to` or a shorter `keep` in the recipe's [prune]",
        ),
        (
            replace(PLAN, amount=0.1),
            "prune.amount: 10% of the channels is less than half of 8 in every layer: nothing would go\n"
            "  try: a larger amount, or a smaller `round_to` or a shorter `keep` in the recipe's [prune]",
        ),
        (
            replace(PLAN, of="macs", amount=0.95),
            "prune.amount: 95% of the multiply-accumulates cannot go: with all the channels that may, it is 77%\n"
            "  try: a smaller amount, or a smaller `round_to` or a shorter `keep` in the recipe's [prune]",
        ),
        (
            replace(PLAN, importance="batch-norm"),
            "prune.importance: the network has no batch norm by whose scale its channels could be ranked\n"
            '  try: `importance = "l1"` in the recipe\'s [prune]',
        ),
        (
            replace(PLAN, amounts={"conv3": 0.5}),
            "prune.amounts: 'conv3' names no layer of the network\n  try: did you mean 'conv2'?",
        ),
    ],
)
def test_what_cannot_be_done_is_told_with_the_way_out(plan: recipe.Prune, told: str) -> None:
    with pytest.raises(StepError) as caught:
        pruned(built("small_cnn"), plan)
    assert str(caught.value) == told


def test_an_unreachable_share_is_told_before_the_first_step_is_trained() -> None:
    plan = replace(PLAN, of="macs", amount=0.95, schedule="linear", steps=5)

    with pytest.raises(StepError, match="95% of the multiply-accumulates cannot go"):
        technique("channels")(built("small_cnn"), plan, stages(plan)[0], EVIDENCE)


def test_a_network_that_was_pruned_elsewhere_is_taken_to_have_lost_as_much_of_everything() -> None:
    module = pruned(built("resnet8"), replace(PLAN, round_to=1))
    after = technique("channels")(module, replace(PLAN, amount=0.75), Stage(before=0.5, amount=0.75), EVIDENCE).module

    assert widths(after)["stack3.conv1"] == 16
    assert widths(after)["stack2.conv1"] == 8
