"""Recipes are read strictly, say what is wrong with the path of its key, and come out as the TOML that they went in."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager import bounds, recipe
from packager.recipe import Data, Export, Measure, Model, Prune, Quantize, Recipe, Train
from runner import codec
from runner.errors import UsageError

ADVICE = "\n  try: see `pack --help` and the README's recipe"


def loaded(folder: Path, text: str | bytes) -> Recipe:
    """Load a recipe of this text."""
    path = folder / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return recipe.load(path)


def refusal(folder: Path, text: str | bytes) -> str:
    """Return why a recipe is refused, without its path."""
    with pytest.raises(UsageError) as caught:
        loaded(folder, text)
    place = f"{folder / 'recipe.toml'}: "
    assert str(caught.value).startswith(place)
    return str(caught.value).removeprefix(place)


def test_an_absent_table_is_a_step_that_is_not_run(tmp_path: Path) -> None:
    found = loaded(tmp_path, "")
    assert found == Recipe()
    assert (found.train, found.prune, found.quantize) == (None, None, None)


def test_an_empty_table_is_a_step_with_its_defaults(tmp_path: Path) -> None:
    found = loaded(tmp_path, "[train]\n[prune]\n[quantize]\n")
    assert (found.train, found.prune, found.quantize) == (Train(), Prune(), Quantize())


def test_every_table_is_read(tmp_path: Path) -> None:
    text = """
        seed = 7
        [model]
        name = "net.py:Net"
        weights = "net.pth"
        [data]
        source = "photos"
        data_dir = "cache"
        image_size = 96
        validation = 0.2
        calibration_samples = 64
        evaluation_samples = 100
        mean = [0.5, 0.25, 1]
        std = [1, 1, 1]
        [train]
        epochs = 3
        batch_size = 16
        optimizer = "sgd"
        schedule = "plateau"
        learning_rate = 1
        weight_decay = 0.0
        label_smoothing = 0.1
        augment = "shift"
        compute = "cpu"
        [prune]
        method = "l1"
        amount = 0.3
        fine_tune_epochs = 0
        fine_tune_learning_rate = 0.1
        [quantize]
        method = "dynamic"
        [export]
        opset = 18
        [measure]
        effort = "rigorous"
        threads = 4
    """
    assert loaded(tmp_path, text) == Recipe(
        seed=7,
        model=Model(name="net.py:Net", weights="net.pth"),
        data=Data(
            source="photos",
            data_dir="cache",
            image_size=96,
            validation=0.2,
            calibration_samples=64,
            evaluation_samples=100,
            mean=(0.5, 0.25, 1.0),
            std=(1.0, 1.0, 1.0),
        ),
        train=Train(
            epochs=3,
            batch_size=16,
            optimizer="sgd",
            schedule="plateau",
            learning_rate=1.0,
            weight_decay=0.0,
            label_smoothing=0.1,
            augment="shift",
            compute="cpu",
        ),
        prune=Prune(amount=0.3, fine_tune_epochs=0, fine_tune_learning_rate=0.1),
        quantize=Quantize(method="dynamic"),
        export=Export(opset=18),
        measure=Measure(effort="rigorous", threads=4),
    )


def test_wrong_types_and_unknown_keys_are_all_told_with_their_paths(tmp_path: Path) -> None:
    text = """
        seed = "1"
        train = { epochs = 8.0, batch_size = true, optimiser = "sgd", schedule = "cosine" }
        [quantise]
        [data]
        mean = 0.5
        std = [0.5, "0.5"]
        [prune]
        ammount = 0.5
        method = "taylor"
    """
    found = refusal(tmp_path, text)
    assert found.endswith(ADVICE)
    assert set(found.removesuffix(ADVICE).splitlines()) == {
        "seed: expected an integer, got '1'",
        "data.mean: expected a list, got 0.5",
        "data.std[1]: expected a number, got '0.5'",
        "train.epochs: expected an integer, got 8.0",
        "train.batch_size: expected an integer, got True",
        "train.schedule: expected one of 'one-cycle', 'plateau', got 'cosine'",
        "train.optimiser: unknown key; did you mean 'optimizer'?",
        "prune.method: expected one of 'l1', got 'taylor'",
        "prune.ammount: unknown key; did you mean 'amount'?",
        "quantise: unknown key; did you mean 'quantize'?",
    }


def test_a_table_that_is_none_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path, "train = true") == f"train: expected a table of keys, got True{ADVICE}"
    assert refusal(tmp_path, "[[train]]") == f"train: expected a table of keys, got [{{}}]{ADVICE}"


def test_a_file_that_is_no_toml_is_told_with_the_place(tmp_path: Path) -> None:
    assert refusal(tmp_path, "seed = 1\ntrain = {").startswith("not TOML: ")
    assert "line 1" in refusal(tmp_path, "seed 1\n")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert refusal(tmp_path, b"\xff\xfe") == "is not a text file"
    with pytest.raises(UsageError) as caught:
        recipe.load(tmp_path / "no.toml")
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory"


WHOLE = Recipe(train=Train(), prune=Prune(), quantize=Quantize())
NAN = float("nan")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("seed", -1, "0 to 9223372036854775807"),
        ("seed", 1 << 63, "0 to 9223372036854775807"),
        ("train.epochs", -1, "0 or more"),
        ("train.batch_size", 1, "2 or more"),
        ("train.learning_rate", 0.0, "above 0"),
        ("train.learning_rate", NAN, "above 0"),
        ("train.learning_rate", float("inf"), "above 0"),
        ("train.weight_decay", -0.1, "0 or more"),
        ("train.label_smoothing", 1.0, "0 or more and below 1"),
        ("train.label_smoothing", -0.1, "0 or more and below 1"),
        ("prune.amount", 0.0, "above 0 and below 1"),
        ("prune.amount", 1.0, "above 0 and below 1"),
        ("prune.amount", NAN, "above 0 and below 1"),
        ("prune.fine_tune_epochs", -1, "0 or more"),
        ("prune.fine_tune_learning_rate", 0.0, "above 0"),
        ("export.opset", 17, "18 to 23"),
        ("export.opset", 24, "18 to 23"),
        ("measure.threads", 0, "1 to 1024"),
        ("measure.threads", 1025, "1 to 1024"),
        ("data.image_size", 7, "at least 8"),
        ("data.validation", 0.0, "a share between 0 and 1"),
        ("data.validation", 1.0, "a share between 0 and 1"),
        ("data.calibration_samples", 0, "at least 1"),
        ("data.evaluation_samples", 0, "at least 1"),
    ],
)
def test_a_number_beyond_its_bounds_is_told_by_its_key(key: str, value: float, expected: str) -> None:
    assert bounds.contradictions(changed(key, value)) == [f"{key}: expected {expected}, got {value}"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 0),
        ("seed", (1 << 63) - 1),
        ("train.epochs", 0),
        ("train.batch_size", 2),
        ("train.learning_rate", 1e-9),
        ("train.weight_decay", 0.0),
        ("train.label_smoothing", 0.0),
        ("prune.amount", 0.99),
        ("prune.fine_tune_epochs", 0),
        ("export.opset", 18),
        ("export.opset", 23),
        ("measure.threads", 1),
        ("measure.threads", 1024),
        ("data.image_size", 8),
        ("data.calibration_samples", 1),
        ("data.evaluation_samples", 1),
        ("measure.threads", None),
    ],
)
def test_a_number_at_its_bounds_is_taken(key: str, value: float | None) -> None:
    assert bounds.contradictions(changed(key, value)) == []


def changed(key: str, value: float | None) -> Recipe:
    """Return a recipe of every step with one number in another place."""
    table, _, name = key.rpartition(".")
    if not table:
        return replace(WHOLE, **{name: value})  # type: ignore[arg-type]  # the parameters say which are numbers
    return replace(WHOLE, **{table: replace(getattr(WHOLE, table), **{name: value})})


def test_a_normalisation_that_cannot_be_computed_with_is_told() -> None:
    wrong = replace(WHOLE, data=Data(mean=(0.5, NAN), std=(0.0, 1.0, float("inf"))))
    assert bounds.contradictions(wrong) == [
        "data.mean: expected a finite number, got nan",
        "data.std: expected above 0, got 0.0",
        "data.std: expected above 0, got inf",
    ]


def test_every_number_out_of_bounds_is_told_at_once() -> None:
    wrong = replace(WHOLE, seed=-1, train=Train(epochs=-1), prune=Prune(amount=2.0))
    assert bounds.contradictions(wrong) == [
        "seed: expected 0 to 9223372036854775807, got -1",
        "train.epochs: expected 0 or more, got -1",
        "prune.amount: expected above 0 and below 1, got 2.0",
    ]


def test_steps_that_are_not_run_are_not_held() -> None:
    assert bounds.contradictions(Recipe()) == []


def test_the_toml_leaves_out_what_is_not_set() -> None:
    text = recipe.to_toml(Recipe(prune=Prune(amount=0.25)))
    found = tomllib.loads(text)
    assert set(found) == {"seed", "model", "data", "prune", "export", "measure"}
    assert found["model"] == {"name": "wide_cnn"}
    assert found["measure"] == {"effort": "quick"}
    assert found["prune"] == {
        "method": "l1",
        "amount": 0.25,
        "fine_tune_epochs": 2,
        "fine_tune_learning_rate": 0.001,
    }
    assert re.search(r"^\[prune\]\nmethod = \"l1\"\namount = 0\.25$", text, re.MULTILINE)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
RECIPES = st.builds(
    Recipe,
    seed=st.integers(0, 2**63 - 1),
    model=st.builds(Model, name=TEXT, weights=st.none() | TEXT),
    data=st.builds(
        Data,
        source=TEXT,
        image_size=st.none() | st.integers(1, 1000),
        validation=NUMBERS,
        mean=st.none() | st.lists(NUMBERS, max_size=3).map(tuple),
    ),
    train=st.none() | st.builds(Train, learning_rate=NUMBERS, optimizer=st.sampled_from(["sgd", "adamw"])),
    prune=st.none() | st.builds(Prune, amount=NUMBERS),
    quantize=st.none() | st.builds(Quantize, method=st.sampled_from(["static", "dynamic"])),
    measure=st.builds(Measure, threads=st.none() | st.integers(1, 64)),
)


@given(RECIPES)
@settings(max_examples=100, deadline=None)
def test_a_recipe_written_as_toml_is_read_as_the_same(value: Recipe) -> None:
    assert codec.read_toml(Recipe, recipe.to_toml(value)) == value


def test_a_recipe_in_one_line_names_its_steps() -> None:
    assert recipe.described(Recipe()) == "wide_cnn on embedded, no training, no pruning, no int8"
    whole = replace(WHOLE, model=Model(name="net.py:Net", weights="net.pth"), prune=Prune(amount=0.3))
    expected = "net.py:Net with given weights on embedded, train 8 epochs, prune 30%, quantize static"
    assert recipe.described(whole) == expected
