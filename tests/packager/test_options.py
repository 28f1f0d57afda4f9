"""Options are laid over a recipe once; what contradicts itself, or would mean nothing, is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from packager.options import Options, resolve
from packager.recipe import Data, Export, Measure, Model, Prune, Quantize, Recipe, Train
from runner.errors import UsageError

RECIPE = """
seed = 3
[model]
name = "resnet8"
weights = "resnet8.pth"
[data]
source = "cifar10"
validation = 0.2
[train]
epochs = 5
batch_size = 32
[prune]
amount = 0.25
fine_tune_epochs = 1
[measure]
effort = "standard"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a recipe of the user's."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE, encoding="utf-8")
    return path


def refusal(options: Options) -> str:
    """Return why options are refused."""
    with pytest.raises(UsageError) as caught:
        resolve(options)
    return str(caught.value)


def test_without_options_every_step_is_run_on_what_comes_along() -> None:
    assert resolve(Options()) == Recipe(
        seed=0,
        model=Model(name="wide_cnn", weights=None),
        data=Data(source="embedded"),
        train=Train(),
        prune=Prune(),
        quantize=Quantize(method="static"),
        export=Export(),
        measure=Measure(effort="quick", threads=None),
    )


def test_every_option_has_its_place() -> None:
    options = Options(
        model="net.py:Net",
        weights="net.pth",
        data="photos",
        data_dir="downloads",
        image_size=96,
        mean=(0.5,),
        std=(0.25,),
        calibration_samples=32,
        eval_samples=100,
        epochs=3,
        batch_size=16,
        learning_rate=0.1,
        optimizer="sgd",
        schedule="plateau",
        augment="shift",
        compute="cpu",
        prune=0.3,
        quantize="dynamic",
        seed=7,
        effort="rigorous",
        threads=4,
    )
    assert resolve(options) == Recipe(
        seed=7,
        model=Model(name="net.py:Net", weights="net.pth"),
        data=Data(
            source="photos",
            data_dir="downloads",
            image_size=96,
            mean=(0.5,),
            std=(0.25,),
            calibration_samples=32,
            evaluation_samples=100,
        ),
        train=Train(
            epochs=3,
            batch_size=16,
            learning_rate=0.1,
            optimizer="sgd",
            schedule="plateau",
            augment="shift",
            compute="cpu",
        ),
        prune=Prune(amount=0.3),
        quantize=Quantize(method="dynamic"),
        measure=Measure(effort="rigorous", threads=4),
    )


# What the user brings along


def test_weights_that_are_given_are_not_trained() -> None:
    found = resolve(Options(model="resnet8", weights="net.pth"))
    assert (found.train, found.prune, found.quantize) == (None, None, Quantize())


def test_weights_that_are_given_are_trained_when_that_is_asked_for() -> None:
    found = resolve(Options(weights="net.pth", epochs=2))
    assert (found.train, found.prune) == (Train(epochs=2), None)


@pytest.mark.parametrize("options", [Options(model="net.py:Net"), Options(data="photos"), Options(weights="net.pth")])
def test_what_the_user_brings_along_is_not_pruned_unasked(options: Options) -> None:
    assert resolve(options).prune is None
    assert resolve(replace(options, prune=0.5)).prune == Prune(amount=0.5)


def test_a_model_of_ones_own_is_trained() -> None:
    assert resolve(Options(model="net.py:Net")).train == Train()


# Epochs


def test_no_epochs_are_no_training_and_no_fine_tuning() -> None:
    found = resolve(Options(epochs=0))
    assert (found.train, found.prune) == (None, Prune(fine_tune_epochs=0))
    assert resolve(Options(epochs=0, prune=0.3)).prune == Prune(amount=0.3, fine_tune_epochs=0)


def test_epochs_are_those_of_training_not_of_fine_tuning() -> None:
    found = resolve(Options(epochs=1))
    assert (found.train, found.prune) == (Train(epochs=1), Prune(fine_tune_epochs=2))


def test_weights_that_are_pruned_are_fine_tuned() -> None:
    found = resolve(Options(weights="net.pth", prune=0.5))
    assert (found.train, found.prune) == (None, Prune(amount=0.5, fine_tune_epochs=2))


def test_fine_tuning_alone_follows_the_options_of_training() -> None:
    found = resolve(Options(weights="net.pth", prune=0.5, batch_size=16, augment="none"))
    assert found.train == Train(epochs=0, batch_size=16, augment="none")


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (Options(weights="net.pth", batch_size=16), "--batch-size"),
        (Options(weights="net.pth", augment="none", optimizer="sgd"), "--optimizer, --augment"),
        (Options(epochs=0, compute="cuda"), "--compute"),
        (Options(epochs=0, prune=0.5, schedule="plateau"), "--schedule"),
        (Options(epochs=0, learning_rate=0.1, batch_size=8), "--learning-rate, --batch-size"),
        # Fine-tuning has a learning rate of its own.
        (Options(weights="net.pth", prune=0.5, learning_rate=0.1, batch_size=8), "--learning-rate"),
    ],
)
def test_an_option_that_would_change_nothing_is_refused(options: Options, names: str) -> None:
    assert refusal(options) == f"{names}: nothing is trained that this could be for\n  try: --epochs N"


# Pruning and quantization


def test_pruning_of_nothing_is_none() -> None:
    assert resolve(Options(prune=0.0)).prune is None


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (None, Quantize()),
        ("static", Quantize(method="static")),
        ("dynamic", Quantize(method="dynamic")),
        ("none", None),
    ],
)
def test_quantization_is_as_it_is_named(word: str | None, expected: Quantize | None) -> None:
    assert resolve(Options(quantize=word)).quantize == expected


# A recipe beneath


def test_a_recipe_alone_is_taken_as_it_stands(file: Path) -> None:
    assert resolve(Options(recipe=file)) == Recipe(
        seed=3,
        model=Model(name="resnet8", weights="resnet8.pth"),
        data=Data(source="cifar10", validation=0.2),
        train=Train(epochs=5, batch_size=32),
        prune=Prune(amount=0.25, fine_tune_epochs=1),
        quantize=None,
        measure=Measure(effort="standard"),
    )


def test_options_go_over_a_recipe_and_leave_the_rest(file: Path) -> None:
    options = Options(recipe=file, seed=0, epochs=2, prune=0.75, quantize="static", threads=1, eval_samples=10)
    assert resolve(options) == Recipe(
        seed=0,
        model=Model(name="resnet8", weights="resnet8.pth"),
        data=Data(source="cifar10", validation=0.2, evaluation_samples=10),
        train=Train(epochs=2, batch_size=32),
        prune=Prune(amount=0.75, fine_tune_epochs=1),
        quantize=Quantize(),
        measure=Measure(effort="standard", threads=1),
    )


def test_another_model_does_not_inherit_the_weights_of_the_recipes(file: Path) -> None:
    assert resolve(Options(recipe=file, model="small_cnn")).model == Model(name="small_cnn", weights=None)
    assert resolve(Options(recipe=file, weights="new.pth")).model == Model(name="resnet8", weights="new.pth")


def test_a_recipe_that_trains_trains_the_weights_that_it_is_given(file: Path) -> None:
    assert resolve(Options(recipe=file, weights="new.pth")).train == Train(epochs=5, batch_size=32)


def test_a_recipes_steps_are_turned_off_one_by_one(file: Path) -> None:
    found = resolve(Options(recipe=file, epochs=0, prune=0, quantize="none"))
    assert (found.train, found.prune, found.quantize) == (None, None, None)
    tuned = resolve(Options(recipe=file, epochs=0))
    assert (tuned.train, tuned.prune) == (None, Prune(amount=0.25, fine_tune_epochs=0))


def test_a_recipe_without_training_is_trained_when_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.touch()
    assert resolve(Options(recipe=path)) == Recipe()
    assert resolve(Options(recipe=path, epochs=1)).train == Train(epochs=1)
    assert resolve(Options(recipe=path, prune=0.5)).prune == Prune(amount=0.5)


def test_a_recipe_that_only_fine_tunes_keeps_what_it_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "tune.toml"
    path.write_text('train = { epochs = 0, augment = "shift" }\nprune = { amount = 0.5 }\n', encoding="utf-8")
    assert resolve(Options(recipe=path)).train == Train(epochs=0, augment="shift")


# Contradictions


def test_every_number_beyond_its_bounds_is_told_at_once(file: Path) -> None:
    assert refusal(Options(recipe=file, epochs=-1, prune=1.5, threads=0)) == (
        "train.epochs: expected 0 or more, got -1\n"
        "prune.amount: expected above 0 and below 1, got 1.5\n"
        "measure.threads: expected 1 to 1024, got 0"
    )


def test_a_recipe_that_is_none_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("sead = 1\n", encoding="utf-8")
    assert refusal(Options(recipe=path)).startswith(f"{path}: sead: unknown key; did you mean 'seed'?\n")
