"""A whole search: trials of a real network, its front, how it goes on, and what it refuses."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import optuna
import pytest

import models
import targets
from packager import builders, compatibility, recipe, recipe_file, tune
from packager.builders import BuildContext
from packager.cache import Cache
from packager.candidates import NAMES
from packager.cli import pack
from packager.compatibility import impossible
from packager.data import Splits
from packager.export import Exported
from packager.network import Network
from packager.options import Options, resolve
from packager.recipe import Budget, Prune, Quantize, Recipe
from packager.tune import Wish
from packager.tune.plan import as_recipe
from packager.tune.search import Found, SearchOrder, search
from packager.tune.space import space
from runner import codec, device, edge
from runner.bundle import open_bundle
from runner.errors import StepError, UsageError
from runner.manifest import Target
from runner.progress import Progress, Silent
from tests import contexts
from tests.fakes import InterruptingProgress, RecordingProgress

ONNX = ("int8.onnx",)
"""Whose runtime starts faster than PyTorch."""
FOUR = Wish(objective="macs", max_drop=100, trials=4)
Search = Callable[..., Found]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return Cache(folder=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def plan(few_images: Path) -> Recipe:
    """A wide_cnn that is hardly trained, and not fine-tuned."""
    return Recipe(
        model=recipe.Model(name="wide_cnn"),
        data=recipe.Data(source=str(few_images), calibration_samples=32),
        train=recipe.Train(epochs=2, batch_size=32, compute="cpu"),
        prune=Prune(method="channels", fine_tune_epochs=0),
        quantize=Quantize(),
        candidates=ONNX,
        measure=recipe.Measure(threads=1),
    )


def order(plan: Recipe, wish: Wish, folder: Path, cache: Cache, progress: Progress) -> SearchOrder:
    return SearchOrder(
        recipe=plan, target=targets.load("x86"), wish=wish, output=folder, cache=cache, progress=progress
    )


@pytest.fixture
def searched(plan: Recipe, cache: Cache, tmp_path: Path) -> Search:
    """Searches in a folder of its own, with a cache that all searches here have in common."""

    def run(wish: Wish, plan: Recipe = plan, progress: Progress | None = None) -> Found:
        return search(order(plan, wish, tmp_path, cache, progress or Silent()))

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def whole(plan: Recipe, cache: Cache, folder: Path) -> Found:
    """Four trials without a break."""
    return search(order(plan, FOUR, folder, cache, Silent()))


def test_a_search_that_goes_on_finds_what_one_without_a_break_finds(
    searched: Search, whole: Found, tmp_path: Path
) -> None:
    first = searched(replace(FOUR, trials=1))
    assert first.records == whole.records[:1]
    progress = RecordingProgress()
    second = searched(replace(FOUR, trials=3), progress=progress)
    assert second.records == whole.records[:3]
    assert ("tune", 3, 3) in progress.tasks
    lines = [line for line in progress.said if line.startswith(("tune", "trial"))]
    assert re.fullmatch(r"tune +as before  1 of the trials have ended already", lines[0])
    assert [line.split("  ")[0] for line in lines[1:]] == ["trial 2 of 3", "trial 3 of 3"]
    # Enough trials: nothing is tried any more. What others have beaten since has no recipe left.
    names = {record.trial: f"{second.name}-{record.trial}.toml" for record in second.records}
    (tmp_path / f"{second.name}-mine.toml").touch()
    for name in (*names.values(), f"{second.name}-33.toml"):
        (tmp_path / name).touch()
    assert searched(replace(FOUR, trials=2)).records == second.records
    left = {names[point.trial] for point in second.front} | {f"{second.name}-mine.toml"}
    assert {path.name for path in tmp_path.glob("*.toml")} == left


def test_the_first_trial_is_the_recipe_without_pruning_and_a_front_has_recipes_that_load(
    whole: Found, plan: Recipe, folder: Path
) -> None:
    found = whole
    first = found.records[0].finding
    assert first is not None
    assert first.plan.prune is None
    assert first.plan.quantize == Quantize(per_channel=True)
    figures = [(point.finding.macs or 0, point.finding.drop.drop) for point in found.front]
    assert len(figures) > 1
    assert figures == sorted(figures)
    assert [drop for _, drop in figures] == sorted({drop for _, drop in figures}, reverse=True)
    assert figures[0][0] < (first.macs or 0)
    for point in found.front:
        loaded = recipe_file.load(str(folder / f"{found.name}-{point.trial}.toml"))
        assert loaded == as_recipe(point.finding.plan, plan)
        assert loaded.candidates == ("fp32.onnx", "int8.onnx")
        assert impossible(loaded, (targets.load("x86"),)) == []
    assert found.choice.point == found.front[0]
    text = (folder / "tune-wide_cnn-x86.md").read_text(encoding="utf-8")
    assert "### wide_cnn for x86, tuned for MACs at a drop of at most 100 points" in text
    assert f"Chosen: trial {found.front[0].trial}, the least MACs of those that hold 100 points." in text


def test_a_hopeless_trial_is_stopped_before_it_is_quantized(searched: Search) -> None:
    found = searched(replace(FOUR, max_drop=1))
    stopped = [record for record in found.records if record.finding is None]
    assert stopped
    for record in stopped:
        assert not record.failed
        assert re.fullmatch(
            r"\d+\.\d\d points were lost before it was quantized, and 1 may be lost in all", record.reason
        )
    assert f"4 trials: {4 - len(stopped)} ended, {len(stopped)} stopped early, 0 failed." in str(found.page)


def test_a_trial_that_fails_is_recorded_with_its_reason_and_the_search_goes_on(
    searched: Search, plan: Recipe, whole: Found, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = builders.BUILDERS[NAMES["int8.onnx"]]

    def fails_pruned(context: BuildContext, target: Target) -> Exported:
        if context.network.key != context.teacher.key:
            raise StepError("the network has become too thin\n  in conv1")
        return honest(context, target)

    monkeypatch.setitem(builders.BUILDERS, NAMES["int8.onnx"], fails_pruned)
    pruned = [each.trial for each in whole.records if each.finding and each.finding.plan.prune]
    # Otherwise quantized: in the cache lie the files of the others, which need not be made.
    found = searched(replace(FOUR, trials=pruned[0]), replace(plan, quantize=Quantize(keep_fp32=("conv1",))))
    failed = [record for record in found.records if record.failed]
    assert failed[0].trial == pruned[0]
    assert {record.reason for record in failed} == {"the network has become too thin"}
    assert f"trial {failed[0].trial}: the network has become too thin" in str(found.page)


def test_a_trial_that_is_interrupted_is_tried_again(searched: Search, whole: Found, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        # In the answers of the first trial: all before it is in the cache.
        searched(FOUR, progress=InterruptingProgress())
    assert (tmp_path / "tune-wide_cnn-x86.journal").stat().st_size
    assert searched(replace(FOUR, trials=1)).records == whole.records[:1]


def test_another_recipe_does_not_go_on_with_the_search_of_this_one(searched: Search, plan: Recipe) -> None:
    wish = replace(FOUR, trials=1)
    searched(wish)
    progress = RecordingProgress()
    other = replace(plan, quantize=Quantize(keep_fp32=("linear",)))
    assert len(searched(wish, other, progress).records) == 1
    assert any(line.startswith("trial 1 of 1") for line in progress.said)
    # Neither a title nor how it is measured changes a trial.
    progress = RecordingProgress()
    searched(wish, replace(plan, title="Another", measure=recipe.Measure(effort="rigorous", threads=1)), progress)
    assert not any(line.startswith("trial") for line in progress.said)


def test_weights_alone_have_no_ranges_to_choose_and_the_layers_that_stay_fp32_stay_so(
    searched: Search, plan: Recipe
) -> None:
    asked = Quantize(keep_fp32=("linear",), ranges="percentile", percentile=99.0)
    wish = replace(FOUR, trials=1)
    found = searched(wish, replace(plan, candidates=("fp32.onnx", "int8-weights.onnx"), quantize=asked))
    (point,) = found.front
    assert point.finding.plan.quantize == Quantize(keep_fp32=("linear",))
    assert impossible(as_recipe(point.finding.plan, plan), (targets.load("x86"),)) == []


@pytest.mark.parametrize("target", ["x86", "x86-avx2", "arm-qnnpack", "cuda"])
@pytest.mark.parametrize(
    "quantize",
    [
        Quantize(),
        Quantize(qat=recipe.Qat(epochs=1), ranges="mse"),
        Quantize(sensitivity=True, keep_fp32=("linear",)),
        Quantize(onnx="pt2e"),
        Quantize(torch="eager", symmetric=True),
    ],
)
def test_whatever_a_search_may_propose_can_be_packed(
    target: str, quantize: Quantize, few_splits: Splits, plan: Recipe, tmp_path: Path
) -> None:
    asked = replace(plan, candidates=(), quantize=quantize)
    network = Network(model=models.build("resnet8", 1, 10, 28, 28), key="of a test")
    choices = space(network, contexts.bench(few_splits, tmp_path, asked), targets.load(target))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [as_recipe(choices.suggest(study.ask()), asked) for _ in range(60)]
    assert len({str(each) for each in found}) > 5
    assert [problem for each in found for problem in impossible(each, (targets.load(target),))] == []


def test_no_trial_begins_after_the_timeout(searched: Search) -> None:
    with pytest.raises(StepError) as error:
        searched(Wish(objective="macs", trials=2, timeout_s=1e-9))
    assert str(error.value) == "tune: no trial came to anything: none was begun\n  try: more time, --timeout"


def test_a_file_that_is_no_record_of_a_search_is_refused(searched: Search, tmp_path: Path) -> None:
    path = tmp_path / "tune-wide_cnn-x86.journal"
    path.write_text("not a journal\n", encoding="utf-8")
    with pytest.raises(UsageError, match="is no record of a search, or a damaged one") as error:
        searched(Wish(objective="macs"))
    assert error.value.where == str(path)
    assert error.value.advice == "move it away, and the search begins anew"


def test_without_channels_that_could_go_macs_cannot_be_minimised(searched: Search, plan: Recipe) -> None:
    fixed = replace(plan, prune=Prune(method="channels", keep=("*",)))
    with pytest.raises(UsageError, match="no channels of this network can go") as error:
        searched(Wish(objective="macs"), fixed)
    assert (error.value.where, error.value.advice) == ("--minimise macs", "--minimise size")


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_the_command_packs_what_it_chose_and_exits_1_where_the_drop_does_not_hold(
    few_images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["tune", "--target", "x86", "--model", "small_cnn", "--data", str(few_images), "--epochs", "2"]
    # Whose activations are clipped so much that some answers change.
    arguments += ["--set", "quantize.ranges=percentile", "--set", "quantize.percentile=90"]
    arguments += ["--trials", "1", "--candidates", "fp32.onnx,int8.onnx", "-o", str(tmp_path)]
    assert edge.run(pack, [*arguments, "--max-drop", "100"], program="pack") == 0
    out, err = capfd.readouterr()
    bundle = tmp_path / "small_cnn-x86.edgepack"
    assert out == f"{bundle}\n"
    assert "small_cnn for x86, tuned for latency at a drop of at most 100 points" in err
    assert "Chosen: trial 1, the least latency of those that hold 100 points." in err
    assert "small_cnn-x86 for x86" in err
    manifest = open_bundle(bundle).manifest
    assert [each.name for each in manifest.artifacts] == ["fp32.onnx", "int8.onnx"]
    chosen = recipe_file.load(str(tmp_path / "tune-small_cnn-x86-1.toml"))
    assert chosen.budget is None
    assert manifest.provenance.recipe == codec.unstructure(replace(chosen, budget=Budget(max_drop=100.0)))
    # Chosen by the validation split, and confirmed once on the evaluation set.
    host = open_bundle(bundle).host_report()
    assert host is not None
    assert host.packing is not None
    (record,) = host.packing.budgets
    assert (record.artifact, record.holds, len(record.tries)) == ("int8.onnx", True, 1)
    assert record.evaluation.samples == 100
    assert edge.run(pack, [*arguments, "--max-drop", "1", "--minimise", "size"], program="pack") == 1
    out, err = capfd.readouterr()
    assert out == f"{bundle}\n"
    assert "No trial holds 1 points; trial 1 is packed, which loses least: +" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "error: --target: name the one to tune for\n  try: pack tune --target x86, or pack targets\n",
        ),
        (
            ["--target", "x86", "--target", "cuda"],
            "error: --target: name the one to tune for\n  try: pack tune --target x86, or pack targets\n",
        ),
        (["--target", "x86", "--trials", "0"], "error: --trials: expected 1 or more, got 0\n"),
        (["--target", "x86", "--timeout", "-1"], "error: --timeout: expected a number of seconds above 0, got -1\n"),
        (["--target", "x86", "--max-drop", "101"], "error: budget.max_drop: expected 0 to 100 points, got 101.0\n"),
        (
            ["--target", "arm-qnnpack"],
            "error: --minimise latency and arm-qnnpack: this machine is x86_64, and what it measures says nothing of "
            "aarch64; --minimise macs, or size\n",
        ),
        (
            ["--target", "x86", "--set", "quantize.method=dynamic"],
            "error: dynamic quantization: it has no calibration to search; --set quantize.method=static\n",
        ),
        (
            ["--target", "x86", "--model", "net.onnx", "--minimise", "macs"],
            "error: --minimise macs and a network that cannot be pruned: no MACs can go; --minimise latency, or size\n",
        ),
        (
            ["--target", "x86", "--recipe", "resnet18-cifar10"],
            "error: fp32.onnx of a recipe with variants: it is what these are compared with, and no search looks at "
            "variants; --candidates fp32.onnx,int8.onnx --set quantize.method=static\n",
        ),
        (
            ["--target", "x86", "--recipe", "resnet18-cifar10", "--candidates", "fp32.onnx,int8.onnx"],
            "error: int8.onnx and no [quantize]: nothing says how; --set quantize.method=static\n"
            "no quantization: how to quantize is what is searched for; --set quantize.method=static\n",
        ),
        (
            ["--target", "x86", "--set", "prune.importance=taylor", "--set", "prune.amount=0.3"],
            "error: prune.importance: a search finds it by itself; leave it out\n"
            "prune.amount: a search finds it by itself; leave it out\n",
        ),
        (
            ["--target", "x86", "--recipe", "families"],
            "error: models: one network is tuned at a time, and there are ",
        ),
    ],
)
def test_what_no_search_can_do_is_refused_before_it_begins(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert edge.run(pack, ["tune", *arguments, "-o", str(tmp_path)], program="pack") == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(message)
    assert list(tmp_path.iterdir()) == []


def test_the_way_out_of_a_recipe_with_variants_leads_to_a_search_of_int8() -> None:
    target, asked = targets.load("x86"), ("quantize.method=static",)
    plan = resolve(Options(recipe="resnet18-cifar10", candidates=("fp32.onnx", "int8.onnx"), settings=asked))
    assert tune.impossible(plan, target, Wish(objective="size"), device.facts()) == []
    assert compatibility.impossible(plan, (target,)) == []
    assert [each.name for each in tune.searched(plan, target)] == ["int8.onnx"]


def test_a_recipe_with_variants_is_searched_in_half_precision_on_a_gpu() -> None:
    cuda, wish = targets.load("cuda"), Wish(objective="size")
    (told,) = tune.impossible(resolve(Options(recipe="resnet18-cifar10")), cuda, wish, device.facts())
    assert told.endswith("no search looks at variants; --candidates fp32.onnx,fp16.onnx")
    plan = resolve(Options(recipe="resnet18-cifar10", candidates=("fp32.onnx", "fp16.onnx")))
    assert tune.impossible(plan, cuda, wish, device.facts()) == []


def test_fp32_by_name_is_searched_alone() -> None:
    target, plan = targets.load("x86"), resolve(Options(candidates=("fp32.onnx",)))
    assert tune.impossible(plan, target, Wish(objective="macs"), device.facts()) == []
    assert [each.name for each in tune.searched(plan, target)] == ["fp32.onnx"]


def test_an_unknown_objective_is_told_with_those_that_there_are(capfd: pytest.CaptureFixture[str]) -> None:
    assert edge.run(pack, ["tune", "--target", "x86", "--minimise", "energy"], program="pack") == 2
    assert "'energy' is not one of 'latency', 'size', 'macs'" in capfd.readouterr().err
