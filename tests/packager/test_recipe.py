"""Recipes are read strictly, say what is wrong with the path of its key, and come out as the TOML that they went in."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import targets
from packager import bounds, compatibility, recipe, recipe_file
from packager.recipe import Budget, Choose, Data, Export, Measure, Model, Prune, Qat, Quantize, Recipe, Train, Variant
from runner import codec
from runner.errors import UsageError

ROOT = Path(__file__).parent.parent.parent
ADVICE = "\n  try: see `pack --help` and the README's recipe"


def loaded(folder: Path, text: str | bytes) -> Recipe:
    """Load a recipe of this text."""
    path = folder / "recipe.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return recipe_file.load(str(path))


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


EVERY_KEY = """
title = "Every key"
seed = 7
models = ["resnet8", "wide_cnn"]
candidates = ["fp32.onnx", "bf16.torchscript"]

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
share = 0.5
batch_size = 16
optimizer = "sgd"
schedule = "plateau"
learning_rate = 1
weight_decay = 0.0
label_smoothing = 0.1
augment = "shift"
compute = "cpu"
arithmetic = "bf16"

[prune]
method = "channels"
amount = 0.3
of = "macs"
importance = "taylor"
across_layers = true
round_to = 4
amounts = { "stack1.*" = 0.25 }
keep = ["conv1"]
schedule = "cubic"
steps = 3
fine_tune_epochs = 0
fine_tune_share = 0.25
fine_tune_learning_rate = 0.1
distil = 0

[quantize]
method = "dynamic"
torch = "eager"
onnx = "pt2e"
operators = "qoperator"
ranges = "percentile"
percentile = 99.9
per_channel = false
symmetric = true
equalize = true
correct_bias = true
keep_fp32 = ["linear"]
sensitivity = true
qat = { epochs = 1, share = 0.5, learning_rate = 0.01, distil = 0.25 }

[[variants]]
name = "half"
title = "half of the MACs"
artifacts = ["int8.onnx"]
prune = { method = "channels" }
quantize = {}

[budget]
max_drop = 1
qat = { epochs = 4 }

[export]
opset = 18

[choose]
keep = 5

[measure]
effort = "rigorous"
threads = 4
minimise = "cold-start"
"""


def test_every_table_is_read(tmp_path: Path) -> None:
    assert loaded(tmp_path, EVERY_KEY) == Recipe(
        title="Every key",
        seed=7,
        models=("resnet8", "wide_cnn"),
        candidates=("fp32.onnx", "bf16.torchscript"),
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
            share=0.5,
            batch_size=16,
            optimizer="sgd",
            schedule="plateau",
            learning_rate=1.0,
            weight_decay=0.0,
            label_smoothing=0.1,
            augment="shift",
            compute="cpu",
            arithmetic="bf16",
        ),
        prune=Prune(
            method="channels",
            amount=0.3,
            of="macs",
            importance="taylor",
            across_layers=True,
            round_to=4,
            amounts={"stack1.*": 0.25},
            keep=("conv1",),
            schedule="cubic",
            steps=3,
            fine_tune_epochs=0,
            fine_tune_share=0.25,
            fine_tune_learning_rate=0.1,
            distil=0.0,
        ),
        quantize=Quantize(
            method="dynamic",
            torch="eager",
            onnx="pt2e",
            operators="qoperator",
            ranges="percentile",
            percentile=99.9,
            per_channel=False,
            symmetric=True,
            equalize=True,
            correct_bias=True,
            keep_fp32=("linear",),
            sensitivity=True,
            qat=Qat(epochs=1, share=0.5, learning_rate=0.01, distil=0.25),
        ),
        variants=(
            Variant(
                name="half",
                title="half of the MACs",
                artifacts=("int8.onnx",),
                prune=Prune(method="channels"),
                quantize=Quantize(),
            ),
        ),
        budget=Budget(max_drop=1.0, qat=Qat(epochs=4)),
        export=Export(opset=18),
        choose=Choose(keep=5),
        measure=Measure(effort="rigorous", threads=4, minimise="cold-start"),
    )


def test_every_key_there_is_stands_in_the_recipe_that_has_every_key(tmp_path: Path) -> None:
    # A key that is added must be added above as well: what is read is then also written and read again.
    whole = loaded(tmp_path, EVERY_KEY)
    written = tomllib.loads(recipe_file.to_toml(whole))
    given = tomllib.loads(EVERY_KEY)
    for table in ("", "model", "data", "train", "prune", "quantize", "choose", "export", "measure"):
        assert set(written[table] if table else written) == set(given[table] if table else given), table
    assert loaded(tmp_path, recipe_file.to_toml(whole)) == whole


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
        "prune.method: expected one of 'l1', 'l1-global', 'random', '2:4', 'channels', got 'taylor'",
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
        recipe_file.load(str(tmp_path / "no.toml"))
    assert str(caught.value) == f"{tmp_path / 'no.toml'}: cannot be read: No such file or directory"


def test_the_toml_leaves_out_what_is_not_set() -> None:
    text = recipe_file.to_toml(Recipe(prune=Prune(amount=0.25)))
    found = tomllib.loads(text)
    assert found.keys() == {
        "title",
        "seed",
        "model",
        "models",
        "data",
        "prune",
        "candidates",
        "variants",
        "export",
        "measure",
    }
    assert found["model"] == {"name": "wide_cnn"}
    assert found["measure"] == {"effort": "quick", "minimise": "latency"}
    assert found["prune"] == {
        "method": "l1",
        "amount": 0.25,
        "of": "channels",
        "importance": "l1",
        "across_layers": False,
        "round_to": 8,
        "amounts": {},
        "keep": [],
        "schedule": "one-shot",
        "steps": 1,
        "fine_tune_epochs": 2,
        "fine_tune_share": 1.0,
        "fine_tune_learning_rate": 0.001,
        "distil": 0.5,
    }
    assert re.search(r"^\[prune\]\nmethod = \"l1\"\namount = 0\.25$", text, re.MULTILINE)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.lists(TEXT, max_size=2).map(tuple)
QUANTIZE = st.builds(
    Quantize,
    method=st.sampled_from(["static", "dynamic"]),
    keep_fp32=WORDS,
    per_channel=st.none() | st.booleans(),
    qat=st.none() | st.builds(Qat, learning_rate=NUMBERS),
)
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
    prune=st.none() | st.builds(Prune, amount=NUMBERS, amounts=st.dictionaries(TEXT, NUMBERS, max_size=2)),
    quantize=st.none() | QUANTIZE,
    variants=st.lists(st.builds(Variant, name=TEXT, quantize=QUANTIZE, artifacts=WORDS), max_size=2).map(tuple),
    budget=st.none() | st.builds(Budget, max_drop=NUMBERS),
    measure=st.builds(Measure, threads=st.none() | st.integers(1, 64)),
)


@given(RECIPES)
@settings(max_examples=100, deadline=None)
def test_a_recipe_written_as_toml_is_read_as_the_same(value: Recipe) -> None:
    assert codec.read_toml(Recipe, recipe_file.to_toml(value)) == value


WHOLE = Recipe(train=Train(), prune=Prune(amount=0.3), quantize=Quantize())


def test_a_recipe_in_one_line_names_its_steps() -> None:
    assert recipe.described(Recipe()) == "wide_cnn on embedded, no training, no pruning, no int8"
    whole = replace(WHOLE, model=Model(name="net.py:Net", weights="net.pth"))
    expected = "net.py:Net with given weights on embedded, train 8 epochs, prune 30%, quantize static"
    assert recipe.described(whole) == expected
    names = tuple(Variant(name=name, artifacts=()) for name in ("half", "qat"))
    more = replace(whole, quantize=Quantize(qat=Qat()), variants=names, budget=Budget(max_drop=1.0))
    assert recipe.described(more) == f"{expected} with QAT, variants half, qat, at most 1 point lost"


# Recipes by name


@pytest.mark.parametrize("name", sorted(recipe_file.names()))
def test_a_recipe_that_comes_with_edgepack_can_be_granted(name: str) -> None:
    found = recipe_file.load(name)
    assert found.title == recipe_file.names()[name] != ""
    assert bounds.contradictions(found) == []
    assert compatibility.impossible(found, (targets.load("x86"), targets.load("arm-qnnpack"))) == []


def test_the_recipes_of_the_tables_are_there_by_name() -> None:
    tables = {"resnet18-cifar10", "resnet18-pt2e", "wide-cnn", "sizes", "small-cnn"}
    assert tables | {"families", "resnet8-cifar10", "resnet8-fashion-mnist"} <= set(recipe_file.names())
    assert len(set(recipe_file.names().values())) == len(recipe_file.names())  # each table has a section of its own


def test_a_name_that_is_none_is_told_with_the_nearest() -> None:
    for name, hint in [
        ("resnet18-cifar", "did you mean 'resnet18-cifar10'?"),
        ("quux", "a .toml file, or a name that `pack recipes` lists"),
        ("recipes/small-cnn", "did you mean 'small-cnn'?"),
    ]:
        with pytest.raises(UsageError) as caught:
            recipe_file.load(name)
        assert str(caught.value) == f"--recipe: there is no recipe {name!r}; {hint}"


def test_a_recipe_is_found_by_name_from_an_installed_place_and_any_folder(tmp_path: Path) -> None:
    # A copy of the packages is what an installation is; nothing of the checkout may be needed.
    for package in ("packager", "runner", "models", "targets"):
        shutil.copytree(ROOT / package, tmp_path / "installed" / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "work").mkdir()
    program = "from packager import recipe_file; print(recipe_file.load('small-cnn').model.name, recipe_file.__file__)"
    command = [sys.executable, "-P", "-c", program]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    done = subprocess.run(command, cwd=tmp_path / "work", env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["small_cnn", str(tmp_path / "installed" / "packager" / "recipe_file.py")]
