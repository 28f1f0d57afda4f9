"""Options are laid over a recipe once; what contradicts itself, or would mean nothing, is refused."""

from dataclasses import replace
from pathlib import Path

import pytest

from packager.options import Options, resolve
from packager.overlay import overlay
from packager.recipe import (
    Budget,
    Choose,
    Data,
    Export,
    Measure,
    Model,
    Prune,
    Qat,
    Quantize,
    QuantizeMethod,
    Recipe,
    Train,
    Variant,
)
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
        prune_method="channels",
        quantize="dynamic",
        ranges="entropy",
        keep_fp32=("conv1", "stack*"),
        sensitivity=True,
        candidates=("int8.onnx", "fp32.onnx"),
        max_drop=1.5,
        settings=("export.opset=18", "prune.importance=taylor"),
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
        prune=Prune(method="channels", amount=0.3, importance="taylor"),
        quantize=Quantize(method="dynamic", ranges="entropy", keep_fp32=("conv1", "stack*"), sensitivity=True),
        candidates=("int8.onnx", "fp32.onnx"),
        budget=Budget(max_drop=1.5),
        export=Export(opset=18),
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
    half = resolve(Options(recipe="resnet8-cifar10", epochs=0)).variants[-1]
    assert half.prune is not None
    assert half.prune.fine_tune_epochs == 0


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
        ("qat", Quantize(qat=Qat())),
        ("none", None),
    ],
)
def test_quantization_is_as_it_is_named(word: str | None, expected: Quantize | None) -> None:
    assert resolve(Options(quantize=word)).quantize == expected


@pytest.mark.parametrize("word", ["static", "dynamic", "qat"])
def test_another_way_to_quantize_keeps_what_the_recipe_says_of_the_rest(word: str, tmp_path: Path) -> None:
    path = tmp_path / "qat.toml"
    path.write_text('[quantize]\nranges = "mse"\nqat = { epochs = 5 }\n', encoding="utf-8")
    found = resolve(Options(recipe=str(path), quantize=word)).quantize
    method: QuantizeMethod = "dynamic" if word == "dynamic" else "static"
    assert found == Quantize(method=method, ranges="mse", qat=Qat(epochs=5) if word == "qat" else None)


def test_how_to_prune_is_an_answer_to_whether() -> None:
    assert resolve(Options(model="resnet8", prune_method="channels")).prune == Prune(method="channels")
    assert resolve(Options(prune_method="2:4", prune=0)).prune is None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (Options(ranges="mse"), "--ranges"),
        (Options(keep_fp32=("a",)), "--keep-fp32"),
        (Options(sensitivity=True, ranges="mse"), "--ranges, --sensitivity"),
    ],
)
def test_a_detail_of_a_quantization_that_there_is_not_is_refused(options: Options, named: str) -> None:
    expected = (
        f"{named}: nothing is quantized that this could be for\n"
        "  try: --quantize static; variants of a recipe have their own [variants.quantize], in a file"
    )
    assert refusal(replace(options, quantize="none")) == expected


def test_a_budget_is_laid_over_that_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "budget.toml"
    path.write_text("budget = { max_drop = 2, qat = { epochs = 7 } }\n", encoding="utf-8")
    assert resolve(Options(max_drop=0.5)).budget == Budget(max_drop=0.5)
    assert resolve(Options(recipe=str(path))).budget == Budget(max_drop=2.0, qat=Qat(epochs=7))
    assert resolve(Options(recipe=str(path), max_drop=0.5)).budget == Budget(max_drop=0.5, qat=Qat(epochs=7))


def test_an_onnx_file_is_neither_trained_nor_pruned() -> None:
    assert resolve(Options(model="net.onnx")) == Recipe(model=Model(name="net.onnx"), quantize=Quantize())
    assert resolve(Options(model="net.onnx", epochs=3)).train == Train(epochs=3)  # which is then refused in words


# A recipe beneath


def test_a_recipe_alone_is_taken_as_it_stands(file: Path) -> None:
    assert resolve(Options(recipe=str(file))) == Recipe(
        seed=3,
        model=Model(name="resnet8", weights="resnet8.pth"),
        data=Data(source="cifar10", validation=0.2),
        train=Train(epochs=5, batch_size=32),
        prune=Prune(amount=0.25, fine_tune_epochs=1),
        quantize=None,
        measure=Measure(effort="standard"),
    )


def test_options_go_over_a_recipe_and_leave_the_rest(file: Path) -> None:
    options = Options(recipe=str(file), seed=0, epochs=2, prune=0.75, quantize="static", threads=1, eval_samples=10)
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
    assert resolve(Options(recipe=str(file), model="small_cnn")).model == Model(name="small_cnn", weights=None)
    assert resolve(Options(recipe=str(file), weights="new.pth")).model == Model(name="resnet8", weights="new.pth")


def test_weights_that_are_given_are_not_trained_unless_that_is_asked_for(file: Path) -> None:
    found = resolve(Options(recipe=str(file), weights="new.pth"))
    assert found.train == Train(epochs=0, batch_size=32)
    assert found.prune == resolve(Options(recipe=str(file))).prune
    assert resolve(Options(recipe=str(file), weights="new.pth", epochs=5)).train == Train(epochs=5, batch_size=32)


def test_a_recipes_steps_are_turned_off_one_by_one(file: Path) -> None:
    found = resolve(Options(recipe=str(file), epochs=0, prune=0, quantize="none"))
    assert (found.train, found.prune, found.quantize) == (None, None, None)
    tuned = resolve(Options(recipe=str(file), epochs=0))
    assert (tuned.train, tuned.prune) == (None, Prune(amount=0.25, fine_tune_epochs=0))


def test_a_recipe_without_training_is_trained_when_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "bare.toml"
    path.touch()
    assert resolve(Options(recipe=str(path))) == Recipe()
    assert resolve(Options(recipe=str(path), epochs=1)).train == Train(epochs=1)
    assert resolve(Options(recipe=str(path), prune=0.5)).prune == Prune(amount=0.5)


def test_a_recipe_that_only_fine_tunes_keeps_what_it_says_of_it(tmp_path: Path) -> None:
    path = tmp_path / "tune.toml"
    path.write_text('train = { epochs = 0, augment = "shift" }\nprune = { amount = 0.5 }\n', encoding="utf-8")
    assert resolve(Options(recipe=str(path))).train == Train(epochs=0, augment="shift")


def test_a_model_that_is_named_takes_the_place_of_all_of_a_recipes(tmp_path: Path) -> None:
    path = tmp_path / "many.toml"
    path.write_text('models = ["resnet8", "small_cnn"]\n', encoding="utf-8")
    assert resolve(Options(recipe=str(path))).models == ("resnet8", "small_cnn")
    assert resolve(Options(recipe=str(path), model="wide_cnn")).models == ()


@pytest.mark.parametrize("step", ["prune = {}", "quantize = { qat = {} }"])
def test_what_a_variant_learns_with_follows_the_options_of_training(step: str, tmp_path: Path) -> None:
    path = tmp_path / "variant.toml"
    path.write_text(f'[[variants]]\nname = "other"\nartifacts = []\n{step}\n', encoding="utf-8")
    assert resolve(Options(recipe=str(path), batch_size=16)).train == Train(epochs=0, batch_size=16)
    assert resolve(Options(recipe=str(path))).train is None


def test_a_recipe_is_found_by_its_name() -> None:
    found = resolve(Options(recipe="small-cnn", epochs=1))
    assert (found.model.name, found.train, found.prune) == ("small_cnn", Train(epochs=1), Prune())
    assert found.title == "small_cnn: train, prune, fine-tune, int8"


# Any key


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("prune.amount=0.3", replace(Recipe(), prune=Prune(amount=0.3))),
        ("prune.method=channels", replace(Recipe(), prune=Prune(method="channels"))),
        ("prune={importance='taylor'}", replace(Recipe(), prune=Prune(importance="taylor"))),
        ("seed = 3", replace(Recipe(), seed=3)),
        ("title=two words", replace(Recipe(), title="two words")),
        ("title=", Recipe()),
        ("model.name=net.py:Net", replace(Recipe(), model=Model(name="net.py:Net"))),
        ("data.mean=[0.5, 1]", replace(Recipe(), data=Data(mean=(0.5, 1.0)))),
        ("train.epochs=3", replace(Recipe(), train=Train(epochs=3))),
        ("quantize.method=dynamic", replace(Recipe(), quantize=Quantize(method="dynamic"))),
        ("budget.max_drop=2", replace(Recipe(), budget=Budget(max_drop=2.0))),
        ("candidates=['int8.onnx']", replace(Recipe(), candidates=("int8.onnx",))),
        (
            "variants=[{name = 'qat', artifacts = []}]",
            replace(Recipe(), variants=(Variant(name="qat", artifacts=()),)),
        ),
    ],
)
def test_any_key_of_a_recipe_can_be_set_as_toml_has_it_or_in_bare_words(setting: str, expected: Recipe) -> None:
    assert overlay(Recipe(), [setting]) == expected


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("prune.importance=taylor", Prune(importance="taylor")),
        ('prune.amounts={"stack1.*" = 0.25}', Prune(amounts={"stack1.*": 0.25})),
        ("train.learning_rate=1e-2", Train(learning_rate=0.01)),
        ("quantize.qat.epochs=3", Quantize(qat=Qat(epochs=3))),
        ("quantize.symmetric=true", Quantize(symmetric=True)),
        ("budget.qat.epochs=3", Budget(max_drop=1.0, qat=Qat(epochs=3))),
    ],
)
def test_a_detail_of_a_step_that_there_is_is_set(setting: str, expected: Prune | Train | Quantize | Budget) -> None:
    base = Recipe(train=Train(), prune=Prune(), quantize=Quantize(), budget=Budget(max_drop=1.0))
    found = overlay(base, [setting])
    steps = (found.train, found.prune, found.quantize, found.budget)
    assert [step for step in steps if step not in (base.train, base.prune, base.quantize, base.budget)] == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            Options(weights="net.pth", settings=("train.weight_decay=0.1",)),
            "--set train.weight_decay: there is no [train] that this could be for\n  try: --epochs N",
        ),
        (
            Options(weights="net.pth", settings=("train.weight_decay=0.1", "train.share=0.5")),
            "--set train.weight_decay, train.share: there is no [train] that this could be for\n  try: --epochs N",
        ),
        (
            Options(model="net.py:Net", settings=("prune.importance=taylor",)),
            "--set prune.importance: there is no [prune] that this could be for\n  try: --prune X",
        ),
        (
            Options(quantize="none", settings=("quantize.qat.epochs=3",)),
            "--set quantize.qat.epochs: there is no [quantize] that this could be for\n"
            "  try: --quantize static, or --set quantize.method=static",
        ),
        (
            Options(settings=("budget.qat.epochs=3",)),
            "--set budget.qat.epochs: there is no [budget] that this could be for\n  try: --max-drop X",
        ),
    ],
)
def test_a_detail_of_a_step_that_there_is_not_does_not_begin_it(options: Options, expected: str) -> None:
    assert refusal(options) == expected


def test_a_step_that_the_settings_ask_for_has_their_details() -> None:
    given = Options(model="net.py:Net", settings=("prune.importance=taylor", "prune.method=channels"))
    assert resolve(given).prune == Prune(method="channels", importance="taylor")
    given = Options(weights="net.pth", settings=("train.weight_decay=0.1", "train.epochs=2"))
    assert resolve(given).train == Train(epochs=2, weight_decay=0.1)
    given = Options(quantize="none", settings=("quantize.symmetric=true", "quantize.method=static"))
    assert resolve(given).quantize == Quantize(symmetric=True)
    given = Options(settings=("budget.qat.epochs=3", "budget.max_drop=1"))
    assert resolve(given).budget == Budget(max_drop=1.0, qat=Qat(epochs=3))


def test_a_detail_of_training_is_for_fine_tuning_where_that_is_all_there_is() -> None:
    given = Options(weights="net.pth", prune=0.5, settings=("train.weight_decay=0.1",))
    assert resolve(given).train == Train(epochs=0, weight_decay=0.1)
    assert resolve(replace(given, settings=("prune.importance=l2",))).train is None
    for step in ("prune.amount=0.5", "quantize.qat.epochs=1", "budget.max_drop=1"):
        given = Options(weights="net.pth", settings=("train.weight_decay=0.1", step))
        assert resolve(given).train == Train(epochs=0, weight_decay=0.1)
    assert resolve(Options(weights="net.pth", settings=("prune.amount=0.5",))).train is None


def test_of_two_settings_the_later_one_holds_and_the_rest_stays() -> None:
    base = Recipe(seed=1, prune=Prune(amount=0.25, keep=("conv1",)))
    assert overlay(base, ["prune.amount=0.5", "prune.amount=0.75"]) == replace(
        base, prune=Prune(amount=0.75, keep=("conv1",))
    )
    assert overlay(base, []) is base


@pytest.mark.parametrize(
    ("setting", "what"),
    [
        ("prune.importence=taylor", "prune.importence: unknown key; did you mean 'importance'?"),
        (
            "prune.importance=size",
            "prune.importance: expected one of 'l1', 'l2', 'batch-norm', 'taylor', 'random', got",
        ),
        ("train.epochs=many", "train.epochs: expected an integer, got 'many'"),
        ("train=8", "train: expected a table of keys, got 8"),
        ("prune.amounts.stack1.conv=0.5", "prune.amounts[stack1]: expected a number"),
        ("variants.half.name=a", "variants: expected a list, got {'half': {'name': 'a'}}"),
        ("train.learning_rate=nan", "train.learning_rate: expected a finite number, got nan"),
    ],
)
def test_a_setting_that_no_recipe_has_is_told_with_its_key(setting: str, what: str) -> None:
    found = refusal(Options(settings=(setting,)))
    assert found.startswith(f"--set: {what}")
    assert found.endswith("\n  try: a key of the recipe, as `pack inspect BUNDLE --recipe` shows")


@pytest.mark.parametrize("setting", ["prune", "=3", "prune.=3", ".amount=3", "prune..amount=0.3", ""])
def test_a_setting_without_key_or_value_is_told(setting: str) -> None:
    expected = f"--set {setting}: expected KEY=VALUE, as in prune.importance=taylor"
    assert refusal(Options(settings=("seed=1", setting))) == expected


def test_settings_are_held_to_the_bounds_like_all_else() -> None:
    assert refusal(Options(settings=("prune.amount=2",))) == ("prune.amount: expected above 0 and below 1, got 2.0")


# Contradictions


def test_every_number_beyond_its_bounds_is_told_at_once(file: Path) -> None:
    assert refusal(Options(recipe=str(file), epochs=-1, prune=1.5, threads=0)) == (
        "train.epochs: expected 0 or more, got -1\n"
        "prune.amount: expected above 0 and below 1, got 1.5\n"
        "measure.threads: expected 1 to 1024, got 0"
    )


def test_a_recipe_that_is_none_is_refused_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("sead = 1\n", encoding="utf-8")
    assert refusal(Options(recipe=str(path))).startswith(f"{path}: sead: unknown key; did you mean 'seed'?\n")


def test_what_is_more_than_named_is_chosen_from() -> None:
    assert resolve(Options()).choose is None
    assert resolve(Options(candidates=("fp32.onnx", "int8.onnx"))).choose is None
    assert resolve(Options(candidates=("all",))).choose == Choose(keep=3)
    assert resolve(Options(candidates=("quick", "fp16.onnx"))).choose == Choose(keep=3)
    assert resolve(Options(candidates=("fp32.onnx", "int8.onnx"), keep=1)).choose == Choose(keep=1)
    with pytest.raises(UsageError, match=r"^choose\.keep: expected 1 or more, got 0$"):
        resolve(Options(keep=0))


def test_what_the_fastest_is_chosen_by_goes_to_the_measuring() -> None:
    assert resolve(Options()).measure.minimise == "latency"
    assert resolve(Options(minimise="cold-start")).measure.minimise == "cold-start"
