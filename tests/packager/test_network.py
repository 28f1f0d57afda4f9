"""The steps that change a network, with the cache and the journal about them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from packager import network, recipe
from packager.cache import Cache
from packager.data import Splits
from packager.journal import Journal
from packager.model import LoadedModel
from packager.network import Network, Workbench, prepare
from runner.errors import StepError
from runner.progress import Progress
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
    return LoadedModel(module=Net().eval(), name="net", sha256="1" * 64)


def bench(splits: Splits, folder: Path, plan: recipe.Recipe = RECIPE, progress: Progress | None = None) -> Workbench:
    """Return what the steps work with; the journal is new."""
    shown = progress or RecordingProgress()
    return Workbench(splits=splits, recipe=plan, cache=Cache(folder=folder), progress=shown, journal=Journal(shown))


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
    assert second == (
        f"50% of the weights are zero; validation top-1 {prepared.epochs[2].validation_accuracy:.2%} after epoch 1 of 1"
    )


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
    assert shown.said[0].endswith("  50% of the weights are zero; no fine-tuning")


def test_a_step_that_fails_is_named_with_what_ran_before_it(few_splits: Splits, folder: Path) -> None:
    broken = replace(RECIPE, prune=replace(PRUNE, fine_tune_learning_rate=1e30))
    broken = replace(broken, train=replace(TRAIN, optimizer="sgd", learning_rate=0.01))
    with pytest.raises(StepError) as caught:
        prepare(loaded(), bench(few_splits, folder, broken))

    assert str(caught.value) == (
        "prune: the loss is nan after epoch 1\n  ran before it: train\n"
        "  try: a lower learning rate: `fine_tune_learning_rate` in the recipe's [prune]"
    )
