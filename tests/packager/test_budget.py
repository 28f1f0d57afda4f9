"""The accuracy budget: cheap ways first, the first that holds is kept, and where none holds the best of them."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import targets
from packager import artifacts, budget, onnx_model, recipe, roads
from packager.artifacts import Built
from packager.budget import Found, Ground, Search, find
from packager.check import Logits
from packager.data import Splits
from packager.onnx_model import OnnxModel
from packager.roads import Workshop
from packager.train import logits
from runner import stats
from runner.errors import StepError
from runner.manifest import Candidate
from runner.packing import Try
from runner.runtimes import Options, load_runtime
from tests import modules, workshops

X86 = targets.load("x86")
INT8_ONNX = Candidate(precision="int8", format="onnx")
INT8_TORCHSCRIPT = Candidate(precision="int8", format="torchscript")
QAT = recipe.Qat(epochs=1, share=0.25)
FIRST, SECOND = "as the recipe has it", "ranges by mse"


@pytest.fixture(scope="module")
def workshop(few_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A small network, whose answers are scripted, and a cache that the tests of this module share."""
    torch.manual_seed(0)
    images = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.array()))
    plan = recipe.Recipe(train=recipe.Train(batch_size=32, compute="cpu"))
    folder = tmp_path_factory.mktemp("budget")
    return workshops.shop(modules.settled(modules.Residual(), images), workshops.bench(few_splits, folder, plan))


@pytest.fixture
def ground(few_splits: Splits) -> Ground:
    """The samples to judge by, of which the trained network answers 90 of 100 as it should."""
    bare = Ground(labels=few_splits.evaluation.labels, trained=np.zeros((100, 4), np.float32))
    return replace(bare, trained=answering(bare, 90))


def answering(ground: Ground, right: int) -> Logits:
    """Return answers of which so many are right."""
    chosen = np.where(np.arange(len(ground.labels)) < right, ground.labels, (ground.labels + 1) % 4)
    return np.eye(4, dtype=np.float32)[chosen]


def scripted(ground: Ground, *rights: int | StepError) -> Callable[[Built], Logits]:
    """Return what answers with so many right ones at its first call, at its second …; the last one stays."""
    left = list(rights)

    def answer(built: Built) -> Logits:
        assert built.file.is_file()
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, StepError):
            raise now
        return answering(ground, now)

    return answer


def search(
    workshop: Workshop, ground: Ground, answer: Callable[[Built], Logits], *, max_drop: float, said: list[Try]
) -> Search:
    """Return a search for int8.torchscript, whose training takes the least time."""
    return Search(
        candidate=INT8_TORCHSCRIPT,
        workshop=workshop,
        target=X86,
        budget=recipe.Budget(max_drop=max_drop, qat=QAT),
        validation=ground,
        answer=answer,
        say=said.append,
    )


def ran(found: Built, splits: Splits) -> Logits:
    """Return the runner's answers."""
    session = load_runtime("onnx").load(found.file, Options(threads=1, engine=None, exact_int8=False))
    return session.run(splits.preprocess.apply(splits.evaluation.array()))


def names(tries: Sequence[Try]) -> list[str]:
    return [each.what for each in tries]


def test_a_drop_is_a_difference_of_shares_on_the_same_samples_with_its_interval(ground: Ground) -> None:
    found = ground.drop(answering(ground, 80))
    right = np.arange(100)
    assert (found.samples, found.top1) == (100, 0.8)
    assert found.drop == pytest.approx(0.1)
    assert found.interval == stats.paired_difference(list(right < 90), list(right < 80))
    assert ground.drop(answering(ground, 95)).drop == pytest.approx(-0.05)


def test_a_drop_of_exactly_the_budget_holds() -> None:
    drop = Ground(labels=np.zeros(100, np.int64), trained=np.eye(2, dtype=np.float32)[np.zeros(100, int)])
    wrong = np.eye(2, dtype=np.float32)[(np.arange(100) < 1).astype(int)]
    found = drop.drop(wrong)
    assert budget.holds(found, 1.0 / budget.POINTS)
    assert not budget.holds(found, 0.99 / budget.POINTS)


def test_the_first_way_that_holds_is_kept_and_nothing_dearer_is_tried(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    said: list[Try] = []
    answers = logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()
    real = Ground(labels=few_splits.evaluation.labels, trained=answers)
    own = workshops.shop(trained, workshops.bench(few_splits, tmp_path))
    asked = search(own, real, lambda built: ran(built, few_splits), max_drop=3.0, said=said)
    found = find(replace(asked, candidate=INT8_ONNX))
    assert names(found.tries) == [FIRST] == names(said)
    assert found.chosen == FIRST
    assert found.built == replace(artifacts.build(INT8_ONNX, own, X86), cached=False)
    assert found.tries[0].validation == real.drop(ran(found.built, few_splits))


def test_a_way_that_costs_too_much_is_followed_by_the_next(workshop: Workshop, ground: Ground) -> None:
    said: list[Try] = []
    found = find(search(workshop, ground, scripted(ground, 80, 89), max_drop=1.0, said=said))
    assert [(each.what, each.holds) for each in found.tries] == [(FIRST, False), (SECOND, True)]
    assert said == list(found.tries)
    mse = replace(workshop, quantize=recipe.Quantize(ranges="mse"))
    assert found.built.file == artifacts.build(INT8_TORCHSCRIPT, mse, X86).file
    drops = [each.validation.drop for each in found.tries if each.validation]
    assert drops == pytest.approx([0.1, 0.01])


def test_where_none_holds_every_way_is_tried_and_the_best_is_kept(workshop: Workshop, ground: Ground) -> None:
    said: list[Try] = []
    broken = StepError("the worker died")
    found = find(search(workshop, ground, scripted(ground, 70, broken, 80, 75, 79), max_drop=1.0, said=said))

    assert names(found.tries)[:3] == [FIRST, SECOND, "equalized, biases corrected"]
    assert names(found.tries)[-1] == "QAT, 1 epochs"
    back = names(found.tries)[3:-1]
    assert back
    assert all(each.endswith(" in fp32") for each in back)
    assert [each.failure for each in found.tries] == ["", "the worker died", *[""] * (len(found.tries) - 2)]
    assert not any(each.holds for each in found.tries)
    assert found.chosen == "equalized, biases corrected"
    # What failed is not built upon.
    better = recipe.Quantize(equalize=True, correct_bias=True)
    assert found.built.file == artifacts.build(INT8_TORCHSCRIPT, replace(workshop, quantize=better), X86).file

    record = found.record(ground.drop(answering(ground, 90)), 0.01)
    assert (record.artifact, record.chosen, record.holds) == ("int8.torchscript", found.chosen, False)
    assert record.evaluation.drop == 0.0


def test_the_layers_that_go_back_to_fp32_are_the_most_sensitive_ones_first(workshop: Workshop, ground: Ground) -> None:
    asked = search(workshop, ground, scripted(ground, 0), max_drop=1.0, said=[])
    tries = [Try(what="", validation=ground.drop(ground.trained), holds=False)]
    found = [road for road in budget._roads(asked, tries) if "in fp32" in road.what]
    assert [len(road.plan.keep_fp32) for road in found] == [1, 2, 4][: len(found)]
    for fewer, more in itertools.pairwise(found):
        assert more.plan.keep_fp32[: len(fewer.plan.keep_fp32)] == fewer.plan.keep_fp32
        assert more.what == f"{', '.join(more.plan.keep_fp32)} in fp32"
    assert all((road.plan.ranges, road.plan.equalize, road.plan.correct_bias) == ("mse", True, True) for road in found)


@pytest.mark.parametrize(
    ("rights", "refined", "kept"),
    [
        ((80, 70, 75), (False, True), (False, False)),
        ((80, 70, 85), (False, True), (False, True)),
        ((80, 85, 84), (True, True), (True, False)),
        ((80, 80, 81), (True, True), (True, True)),
        ((None, 70, 60), (True, True), (True, False)),
    ],
    ids=["both lose more", "ranges lose more", "equalizing loses more", "both help", "where the first cannot be run"],
)
def test_what_loses_more_is_not_built_upon(
    rights: tuple[int | None, ...],
    refined: tuple[bool, bool],
    kept: tuple[bool, bool],
    workshop: Workshop,
    ground: Ground,
) -> None:
    asked, tries, plans = search(workshop, ground, scripted(ground, 0), max_drop=0.0, said=[]), list[Try](), []
    for road, right in zip(budget._roads(asked, tries), (*rights, 0), strict=False):
        drop = None if right is None else ground.drop(answering(ground, right))
        tries.append(Try(what=road.what, validation=drop, holds=False))
        plans.append((road.plan.ranges == "mse", road.plan.equalize and road.plan.correct_bias))
    assert plans == [(False, False), (True, False), refined, kept]
    assert tries[-1].what.endswith(" in fp32")


def test_where_nothing_can_be_made_the_first_failure_is_told(workshop: Workshop, ground: Ground) -> None:
    said: list[Try] = []
    failing = scripted(ground, StepError("no kernel"), StepError("another"))
    with pytest.raises(StepError, match=r"^no kernel$"):
        find(search(workshop, ground, failing, max_drop=1.0, said=said))
    assert [each.validation for each in said] == [None] * len(said)
    assert len(said) > 3


@pytest.mark.parametrize(("evaluated", "holds"), [(89, True), (88, False)])
def test_a_budget_holds_on_both_splits_or_not_at_all(
    evaluated: int, holds: bool, workshop: Workshop, ground: Ground
) -> None:
    found: Found = find(search(workshop, ground, scripted(ground, 90), max_drop=1.0, said=[]))
    record = found.record(ground.drop(answering(ground, evaluated)), 0.01)
    assert (record.tries[0].holds, record.holds, record.max_drop) == (True, holds, 0.01)


@pytest.mark.parametrize(
    ("quantize", "precision", "expected"),
    [
        (recipe.Quantize(qat=QAT), "int8", [FIRST]),
        (recipe.Quantize(method="dynamic"), "int8", [FIRST, "QAT, 1 epochs"]),
        (recipe.Quantize(ranges="mse", equalize=True, correct_bias=True), "int8", [FIRST, "QAT, 1 epochs"]),
        (recipe.Quantize(equalize=True), "int8", [FIRST, SECOND, "equalized, biases corrected", "QAT, 1 epochs"]),
        (None, "int8-weights", [FIRST]),
    ],
)
def test_what_the_recipe_has_already_or_would_change_nothing_is_not_tried(
    quantize: recipe.Quantize | None, precision: str, expected: list[str], workshop: Workshop, ground: Ground
) -> None:
    asked = search(replace(workshop, quantize=quantize), ground, scripted(ground, 0), max_drop=1.0, said=[])
    asked = replace(asked, candidate=Candidate(precision=precision, format="onnx"))  # type: ignore[arg-type]  # one of two
    tries = [Try(what="", validation=ground.drop(ground.trained), holds=False)]
    found = [road.what for road in budget._roads(asked, tries) if not road.what.endswith(" in fp32")]
    assert found == expected


def test_a_model_that_is_a_file_is_neither_equalized_nor_trained(
    workshop: Workshop, ground: Ground, few_splits: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(roads.fp32_onnx(workshop, X86).content)
    file = onnx_model.load(path, few_splits.preprocess, 4)
    assert isinstance(file, OnnxModel)
    alone = workshops.shop(file, workshop.bench)
    said: list[Try] = []
    asked = search(alone, ground, scripted(ground, 10), max_drop=1.0, said=said)
    find(replace(asked, candidate=INT8_ONNX))
    assert names(said)[:2] == [FIRST, SECOND]
    assert all(each.what.endswith(" in fp32") for each in said[2:])
    assert len(said) > 2


def test_layers_that_cannot_be_ranked_are_a_try_that_failed_and_training_comes_next(
    few_splits: Splits, ground: Ground, tmp_path: Path
) -> None:
    # No layer that ONNX Runtime quantizes: the ranking fails, or is empty, and the ladder goes on without it.
    torch.manual_seed(0)
    gated = workshops.shop(nn.Sequential(nn.Flatten(), nn.Softmax(1)).eval(), workshops.bench(few_splits, tmp_path))
    asked = search(gated, ground, scripted(ground, 0), max_drop=1.0, said=[])
    tries = [Try(what="", validation=None, holds=False)]
    found = list(budget._roads(asked, tries))
    assert found[-1].what == "QAT, 1 epochs"
    assert [road.plan for road in found[1:3]] == [
        recipe.Quantize(ranges="mse"),
        recipe.Quantize(equalize=True, correct_bias=True),
    ]
    for road in found[3:-1]:
        assert road.what == "the most sensitive layers in fp32"
        assert isinstance(road.failure, StepError)
