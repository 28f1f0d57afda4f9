"""The steps that change a network, with the cache and the journal about them."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import models
from packager import network, recipe
from packager.cache import Cache
from packager.data import Splits
from packager.journal import Journal
from packager.model import LoadedModel
from packager.network import Network, Workbench, pruned, trained
from packager.onnx_model import OnnxModel
from packager.train import Job, evaluate, logits, train
from runner.errors import StepError
from runner.progress import Progress, Silent
from tests.fakes import InterruptingProgress, RecordingProgress

TRAIN = recipe.Train(epochs=2, batch_size=40, compute="cpu")
PRUNE = recipe.Prune(amount=0.5, fine_tune_epochs=1)
RECIPE = recipe.Recipe(train=TRAIN, prune=PRUNE)
STEPS = 9
"""Of one epoch: 360 images."""


class Net(nn.Module):
    """A small network of which two layers share their weight."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 5, stride=4)
        self.pool = nn.AdaptiveAvgPool2d(2)
        self.hidden = nn.Linear(24, 24, bias=False)
        self.again = nn.Linear(24, 24, bias=False)
        self.again.weight = self.hidden.weight
        self.linear = nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = torch.flatten(self.pool(torch.relu(self.conv(x))), 1)
        logits: Tensor = self.linear(torch.relu(self.again(torch.relu(self.hidden(x)))))
        return logits


def loaded() -> LoadedModel:
    """Return the same model each time."""
    torch.manual_seed(0)
    return LoadedModel(model=Net().eval(), name="net", sha256="1" * 64)


def bench(splits: Splits, folder: Path, plan: recipe.Recipe = RECIPE, progress: Progress | None = None) -> Workbench:
    """Return what the steps work with; the journal is new."""
    shown = progress or RecordingProgress()
    return Workbench(splits=splits, recipe=plan, cache=Cache(folder=folder), progress=shown, journal=Journal(shown))


def prepare(given: LoadedModel, work: Workbench) -> Network:
    """Return the network after the steps that the recipe names, with the epochs of both."""
    network = trained(given, work)
    if work.recipe.prune is None:
        return network
    left = pruned(network, work.recipe.prune, work)
    return replace(left, epochs=(*network.epochs, *left.epochs))


def same(one: nn.Module, two: nn.Module) -> bool:
    """Tell whether two networks have the same weights, bit for bit."""
    twos = two.state_dict()
    return all(torch.equal(value, twos[name]) for name, value in one.state_dict().items())


def zeros(found: Network) -> dict[str, int]:
    """Return how many zeros each weight has."""
    return {name: int((value == 0).sum()) for name, value in found.module.named_parameters() if "weight" in name}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests of this module share."""
    return tmp_path_factory.mktemp("network")


@pytest.fixture(scope="module")
def learned_net(few_splits: Splits) -> nn.Module:
    """A network that has learned the few images."""
    torch.manual_seed(0)
    module = models.build("small_cnn", 1, 4, 28, 28).eval()
    return train(module, Job(plan=replace(TRAIN, epochs=3), splits=few_splits, seed=0), Silent()).module


@pytest.fixture(scope="module")
def prepared(few_splits: Splits, folder: Path) -> Network:
    """The network, trained and pruned."""
    return prepare(loaded(), bench(few_splits, folder))


def test_without_training_and_pruning_the_network_is_the_one_that_came(few_splits: Splits, tmp_path: Path) -> None:
    for plan in (recipe.Recipe(), recipe.Recipe(train=replace(TRAIN, epochs=0))):
        given = loaded()
        found = prepare(given, bench(few_splits, tmp_path, plan))

        assert found.module is given.module
        assert (found.key, found.epochs) == (given.sha256, ())
    assert list(tmp_path.iterdir()) == []


def test_the_epochs_of_both_stages_are_kept(prepared: Network) -> None:
    assert [(epoch.stage, epoch.epoch) for epoch in prepared.epochs] == [("train", 1), ("train", 2), ("prune", 1)]
    assert prepared.epochs[2].learning_rate == pytest.approx(PRUNE.fine_tune_learning_rate / 25)
    assert not prepared.module.training


def test_half_of_the_weights_are_zero_after_pruning_and_fine_tuning(prepared: Network) -> None:
    assert zeros(prepared) == {"conv.weight": 75, "hidden.weight": 288, "linear.weight": 48}


def test_a_weight_that_two_layers_share_is_shared_after_the_cache(prepared: Network) -> None:
    assert isinstance(prepared.module, Net)
    assert prepared.module.hidden.weight is prepared.module.again.weight


def test_the_model_that_is_given_stays_as_it_is(few_splits: Splits, prepared: Network, folder: Path) -> None:
    given = loaded()
    again = prepare(given, bench(few_splits, folder))

    assert same(given.module, loaded().module)
    assert same(again.module, prepared.module)


def test_finished_steps_are_found_again(few_splits: Splits, prepared: Network, folder: Path) -> None:
    again = bench(few_splits, folder)
    found = prepare(loaded(), again)

    assert [(record.step, record.cached) for record in again.journal.records] == [("train", True), ("prune", True)]
    assert (found.key, found.epochs) == (prepared.key, prepared.epochs)
    assert same(found.module, prepared.module)


def test_a_finished_step_leaves_weights_and_epochs_and_no_checkpoint(prepared: Network, folder: Path) -> None:
    (finished,) = [path for path in (folder / "prune").iterdir() if path.name == prepared.key]

    assert sorted(path.name for path in finished.iterdir()) == [network.EPOCHS, network.WEIGHTS]
    assert len(json.loads((finished / network.EPOCHS).read_text(encoding="utf-8"))) == 1


def test_the_journal_tells_the_best_epoch(few_splits: Splits, prepared: Network, folder: Path) -> None:
    shown = RecordingProgress()
    prepare(loaded(), bench(few_splits, folder, progress=shown))

    best = max(prepared.epochs[:2], key=lambda epoch: epoch.validation_accuracy)
    first, second = (line.split("as before")[1].strip() for line in shown.said)
    assert first == f"validation top-1 {best.validation_accuracy:.2%} after epoch {best.epoch} of 2"
    assert second == (f"l1 50%; validation top-1 {prepared.epochs[2].validation_accuracy:.2%} after epoch 1 of 1")


@pytest.mark.parametrize(
    "other",
    [
        replace(RECIPE, seed=1),
        replace(RECIPE, train=replace(TRAIN, epochs=3)),
        replace(RECIPE, train=replace(TRAIN, optimizer="sgd")),
        replace(RECIPE, prune=replace(PRUNE, amount=0.25)),
        replace(RECIPE, prune=replace(PRUNE, fine_tune_learning_rate=0.01)),
    ],
    ids=["seed", "epochs", "optimizer", "amount", "rate"],
)
def test_another_plan_gives_another_network(
    other: recipe.Recipe, few_splits: Splits, prepared: Network, folder: Path
) -> None:
    found = prepare(loaded(), bench(few_splits, folder, other))

    assert found.key != prepared.key
    assert not same(found.module, prepared.module)


def test_other_data_are_trained_on_anew(few_splits: Splits, prepared: Network, folder: Path) -> None:
    fresh = bench(replace(few_splits, sha256="f" * 64), folder)

    assert prepare(loaded(), fresh).key != prepared.key
    assert [record.cached for record in fresh.journal.records] == [False, False]


@pytest.mark.parametrize("after", [3, STEPS + 3])
def test_an_interrupted_step_is_taken_up_again(
    after: int, few_splits: Splits, prepared: Network, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        prepare(loaded(), bench(few_splits, tmp_path, progress=InterruptingProgress(after=after)))
    assert [path.suffix for path in (tmp_path / "train").iterdir() if path.is_dir()] == [".part"]

    found = prepare(loaded(), bench(few_splits, tmp_path))

    assert same(found.module, prepared.module)
    assert found.key == prepared.key
    assert not list(tmp_path.rglob("*.part"))


def test_without_fine_tuning_the_other_weights_stay_as_they_were(few_splits: Splits, tmp_path: Path) -> None:
    shown = RecordingProgress()
    plan = recipe.Recipe(prune=replace(PRUNE, fine_tune_epochs=0))
    found = prepare(loaded(), bench(few_splits, tmp_path, plan, shown))

    before = dict(loaded().module.named_parameters())
    assert zeros(found) == {"conv.weight": 75, "hidden.weight": 288, "linear.weight": 48}
    for name, value in found.module.named_parameters():
        assert torch.equal(value, torch.where(value == 0, 0.0, before[name]))
    assert found.epochs == ()
    assert shown.said[0].endswith("  l1 50%; no fine-tuning")


def test_a_step_that_fails_is_named_with_what_ran_before_it(few_splits: Splits, folder: Path) -> None:
    broken = replace(RECIPE, prune=replace(PRUNE, fine_tune_learning_rate=1e30))
    broken = replace(broken, train=replace(TRAIN, optimizer="sgd", learning_rate=0.01))
    with pytest.raises(StepError) as caught:
        prepare(loaded(), bench(few_splits, folder, broken))

    assert str(caught.value) == (
        "prune: the loss is nan after epoch 1\n  ran before it: train\n"
        "  try: a lower learning rate: `fine_tune_learning_rate` in the recipe's [prune]"
    )


# Steps of pruning, and a teacher


def accuracy(module: nn.Module, splits: Splits) -> float:
    """Return top-1 on the samples to judge by."""
    return evaluate(module, splits.evaluation, splits.preprocess)[1]


def test_a_pruned_network_learns_from_the_one_that_it_was(
    few_splits: Splits, learned_net: nn.Module, tmp_path: Path
) -> None:
    whole = Network(model=learned_net, key="1" * 64)
    plan = recipe.Prune(amount=0.9, fine_tune_epochs=0, distil=1.0)
    work = bench(few_splits, tmp_path)
    bare = pruned(whole, plan, work)
    # Nothing but the answers of the unpruned network is learnt from: the labels have no share.
    tuned = pruned(whole, replace(plan, fine_tune_epochs=2), work)

    assert zeros(tuned) == zeros(bare)
    assert accuracy(learned_net, few_splits) > 0.8
    assert accuracy(bare.module, few_splits) < accuracy(tuned.module, few_splits) - 0.1
    assert tuned.epochs[1].train_loss < tuned.epochs[0].train_loss
    assert not same(tuned.module, pruned(whole, replace(plan, fine_tune_epochs=2, distil=0.0), work).module)


def test_each_step_prunes_what_the_one_before_it_left_and_learns_for_its_share_of_the_epochs(
    few_splits: Splits, tmp_path: Path
) -> None:
    plan = replace(PRUNE, amount=0.75, schedule="linear", steps=3, fine_tune_epochs=4)
    work = bench(few_splits, tmp_path)
    found = pruned(Network(model=loaded().module, key="1" * 64), plan, work)

    assert zeros(found)["conv.weight"] == 112  # of 150
    assert [(epoch.stage, epoch.epoch) for epoch in found.epochs] == [
        ("prune", 1),
        ("prune", 1),
        ("prune", 1),
        ("prune", 2),
    ]
    assert len([path for path in (tmp_path / "prune").iterdir() if path.is_dir()]) == 3
    assert [(record.step, record.cached) for record in work.journal.records] == [("prune", False)]


def test_a_schedule_that_was_interrupted_goes_on_with_the_step_that_it_was_at(
    few_splits: Splits, tmp_path: Path
) -> None:
    plan = replace(PRUNE, amount=0.75, schedule="cubic", steps=2, fine_tune_epochs=3)
    whole = Network(model=loaded().module, key="1" * 64)
    # One epoch follows the first step, two the second, in whose second epoch it is interrupted.
    with pytest.raises(KeyboardInterrupt):
        pruned(whole, plan, bench(few_splits, tmp_path, progress=InterruptingProgress(after=STEPS + 1)))
    resumed = pruned(whole, plan, bench(few_splits, tmp_path))
    fresh = pruned(whole, plan, bench(few_splits, tmp_path / "other"))

    assert same(resumed.module, fresh.module)
    assert [epoch.epoch for epoch in resumed.epochs] == [1, 1, 2]


def test_channels_that_are_taken_out_are_gone_after_the_cache_too(few_splits: Splits, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = models.build("small_cnn", 1, 4, 28, 28).eval()
    plan = recipe.Prune(method="channels", amount=0.5, round_to=4, fine_tune_epochs=1)
    before = copy.deepcopy(module.state_dict())
    one, two = (pruned(Network(model=module, key="2" * 64), plan, bench(few_splits, tmp_path)) for _ in range(2))

    count = sum(value.numel() for value in module.parameters())
    assert sum(value.numel() for value in one.module.parameters()) < 0.6 * count
    assert same(one.module, two.module)
    assert (one.key, one.epochs) == (two.key, two.epochs)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.isfinite(evaluate_logits(one.module, few_splits)).all()


def evaluate_logits(module: nn.Module, splits: Splits) -> Tensor:
    """Return what a network answers to the samples to judge by."""
    return logits(module, splits.evaluation, splits.preprocess)


def test_a_network_that_is_a_file_is_no_module() -> None:
    file = OnnxModel(content=b"", name="net", opset=20, dynamic_batch=True, sha256="0" * 64)
    for holder in (Network(model=file, key="0"), LoadedModel(model=file, name="net", sha256="0")):
        with pytest.raises(StepError, match=r"^net: the model exists only as an ONNX file, and this needs a network"):
            _ = holder.module


def test_more_training_keeps_the_plan_but_for_its_length_rate_and_share(few_splits: Splits, tmp_path: Path) -> None:
    plan = recipe.Recipe(train=replace(TRAIN, augment="shift", optimizer="sgd", label_smoothing=0.1))
    found = bench(few_splits, tmp_path, plan).tuning(epochs=7, learning_rate=0.5, share=0.25)
    assert plan.train is not None
    assert found == replace(plan.train, epochs=7, learning_rate=0.5, share=0.25)
    bare = bench(few_splits, tmp_path, recipe.Recipe()).tuning(epochs=1, learning_rate=0.5, share=1.0)
    assert bare == recipe.Train(epochs=1, learning_rate=0.5)
