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
from packager import artifacts, budget, builders, onnx_model, recipe
from packager.artifacts import Built
from packager.budget import Baseline, Found, Search, find
from packager.builders import BuildContext
from packager.check import Logits
from packager.data import Splits
from packager.onnx_model import OnnxModel
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Candidate
from runner.packing import Try
from runner.runtimes import Options, load_runtime
from runner.stats.paired import paired_difference
from tests import contexts, modules

X86 = targets.load("x86")
INT8_ONNX = Candidate(precision="int8", format="onnx")
INT8_TORCHSCRIPT = Candidate(precision="int8", format="torchscript")
QAT = recipe.Qat(epochs=1, share=0.25)
FIRST, SECOND = "as the recipe has it", "ranges by mse"


@pytest.fixture(scope="module")
def context(few_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> BuildContext:
    """A small network, whose answers are scripted, and a cache that the tests of this module share."""
    torch.manual_seed(0)
    images = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.array()))
    plan = recipe.Recipe(train=recipe.Train(batch_size=32, compute="cpu"))
    folder = tmp_path_factory.mktemp("budget")
    return contexts.context(modules.settled(modules.Residual(), images), contexts.bench(few_splits, folder, plan))


@pytest.fixture
def baseline(few_splits: Splits) -> Baseline:
    """The samples to judge by, of which the trained network answers 90 of 100 as it should."""
    bare = Baseline(labels=few_splits.evaluation.labels, trained=np.zeros((100, 4), np.float32))
    return replace(bare, trained=answering(bare, 90))


def answering(baseline: Baseline, right: int) -> Logits:
    """Return answers of which so many are right."""
    chosen = np.where(np.arange(len(baseline.labels)) < right, baseline.labels, (baseline.labels + 1) % 4)
    return np.eye(4, dtype=np.float32)[chosen]


def scripted(baseline: Baseline, *rights: int | StepError) -> Callable[[Built], Logits]:
    """Return what answers with so many right ones at its first call, at its second …; the last one stays."""
    left = list(rights)

    def answer(built: Built) -> Logits:
        assert built.file.is_file()
        now = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(now, StepError):
            raise now
        return answering(baseline, now)

    return answer


def search(
    context: BuildContext, baseline: Baseline, answer: Callable[[Built], Logits], *, max_drop: float, said: list[Try]
) -> Search:
    """Return a search for int8.torchscript, whose training takes the least time."""
    return Search(
        candidate=INT8_TORCHSCRIPT,
        context=context,
        target=X86,
        budget=recipe.Budget(max_drop=max_drop, qat=QAT),
        validation=baseline,
        answer=answer,
        say=said.append,
    )


def ran(found: Built, splits: Splits) -> Logits:
    """Return the runner's answers."""
    session = load_runtime("onnx").load(found.file, Options(threads=1, engine=None, exact_int8=False))
    return session.run(splits.preprocess.apply(splits.evaluation.array()))


def names(tries: Sequence[Try]) -> list[str]:
    return [each.what for each in tries]


def test_a_drop_is_a_difference_of_shares_on_the_same_samples_with_its_interval(baseline: Baseline) -> None:
    found = baseline.drop(answering(baseline, 80))
    right = np.arange(100)
    assert (found.samples, found.top1) == (100, 0.8)
    assert found.drop == pytest.approx(0.1)
    assert found.interval == paired_difference(list(right < 90), list(right < 80))
    assert baseline.drop(answering(baseline, 95)).drop == pytest.approx(-0.05)


def test_a_drop_of_exactly_the_budget_holds() -> None:
    drop = Baseline(labels=np.zeros(100, np.int64), trained=np.eye(2, dtype=np.float32)[np.zeros(100, int)])
    wrong = np.eye(2, dtype=np.float32)[(np.arange(100) < 1).astype(int)]
    found = drop.drop(wrong)
    assert found.within(1.0 / budget.POINTS)
    assert not found.within(0.99 / budget.POINTS)


def test_the_first_way_that_holds_is_kept_and_nothing_dearer_is_tried(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    said: list[Try] = []
    answers = logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()
    real = Baseline(labels=few_splits.evaluation.labels, trained=answers)
    own = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    asked = search(own, real, lambda built: ran(built, few_splits), max_drop=3.0, said=said)
    found = find(replace(asked, candidate=INT8_ONNX))
    assert names(found.tries) == [FIRST] == names(said)
    assert found.chosen == FIRST
    assert found.built == replace(artifacts.build(INT8_ONNX, own, X86), cached=False)
    assert found.tries[0].validation == real.drop(ran(found.built, few_splits))


def test_a_way_that_costs_too_much_is_followed_by_the_next(context: BuildContext, baseline: Baseline) -> None:
    said: list[Try] = []
    found = find(search(context, baseline, scripted(baseline, 80, 89), max_drop=1.0, said=said))
    assert [(each.what, each.holds) for each in found.tries] == [(FIRST, False), (SECOND, True)]
    assert said == list(found.tries)
    mse = replace(context, quantize=recipe.Quantize(ranges="mse"))
    assert found.built.file == artifacts.build(INT8_TORCHSCRIPT, mse, X86).file
    drops = [each.validation.drop for each in found.tries if each.validation]
    assert drops == pytest.approx([0.1, 0.01])


def test_where_none_holds_every_way_is_tried_and_the_best_is_kept(context: BuildContext, baseline: Baseline) -> None:
    said: list[Try] = []
    broken = StepError("the worker died")
    found = find(search(context, baseline, scripted(baseline, 70, broken, 80, 75, 79), max_drop=1.0, said=said))

    assert names(found.tries)[:3] == [FIRST, SECOND, "equalized, biases corrected"]
    assert names(found.tries)[-1] == "QAT, 1 epoch"
    back = names(found.tries)[3:-1]
    assert back
    assert all(each.endswith(" in fp32") for each in back)
    assert [each.failure for each in found.tries] == ["", "the worker died", *[""] * (len(found.tries) - 2)]
    assert not any(each.holds for each in found.tries)
    assert found.chosen == "equalized, biases corrected"
    # What failed is not built upon.
    better = recipe.Quantize(equalize=True, correct_bias=True)
    assert found.built.file == artifacts.build(INT8_TORCHSCRIPT, replace(context, quantize=better), X86).file

    record = found.record(baseline.drop(answering(baseline, 90)), 0.01)
    assert (record.artifact, record.chosen, record.holds) == ("int8.torchscript", found.chosen, False)
    assert record.evaluation.drop == 0.0


def test_the_layers_that_go_back_to_fp32_are_the_most_sensitive_ones_first(
    context: BuildContext, baseline: Baseline
) -> None:
    asked = search(context, baseline, scripted(baseline, 0), max_drop=1.0, said=[])
    tries = [Try(what="", validation=baseline.drop(baseline.trained), holds=False)]
    found = [attempt for attempt in budget._attempts(asked, tries) if "in fp32" in attempt.what]
    assert [len(attempt.plan.keep_fp32) for attempt in found] == [1, 2, 4][: len(found)]
    for fewer, more in itertools.pairwise(found):
        assert more.plan.keep_fp32[: len(fewer.plan.keep_fp32)] == fewer.plan.keep_fp32
        assert more.what == f"{', '.join(more.plan.keep_fp32)} in fp32"
    assert all(
        (attempt.plan.ranges, attempt.plan.equalize, attempt.plan.correct_bias) == ("mse", True, True)
        for attempt in found
    )


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
    context: BuildContext,
    baseline: Baseline,
) -> None:
    asked, tries, plans = search(context, baseline, scripted(baseline, 0), max_drop=0.0, said=[]), list[Try](), []
    for attempt, right in zip(budget._attempts(asked, tries), (*rights, 0), strict=False):
        drop = None if right is None else baseline.drop(answering(baseline, right))
        tries.append(Try(what=attempt.what, validation=drop, holds=False))
        plans.append((attempt.plan.ranges == "mse", attempt.plan.equalize and attempt.plan.correct_bias))
    assert plans == [(False, False), (True, False), refined, kept]
    assert tries[-1].what.endswith(" in fp32")


def test_where_nothing_can_be_made_the_first_failure_is_told(context: BuildContext, baseline: Baseline) -> None:
    said: list[Try] = []
    failing = scripted(baseline, StepError("no kernel"), StepError("another"))
    with pytest.raises(StepError, match=r"^no kernel$"):
        find(search(context, baseline, failing, max_drop=1.0, said=said))
    assert [each.validation for each in said] == [None] * len(said)
    assert len(said) > 3


@pytest.mark.parametrize(("evaluated", "holds"), [(89, True), (88, False)])
def test_a_budget_holds_on_both_splits_or_not_at_all(
    evaluated: int, holds: bool, context: BuildContext, baseline: Baseline
) -> None:
    found: Found = find(search(context, baseline, scripted(baseline, 90), max_drop=1.0, said=[]))
    record = found.record(baseline.drop(answering(baseline, evaluated)), 0.01)
    assert (record.tries[0].holds, record.holds, record.max_drop) == (True, holds, 0.01)


@pytest.mark.parametrize(
    ("quantize", "precision", "expected"),
    [
        (recipe.Quantize(qat=QAT), "int8", [FIRST]),
        (recipe.Quantize(method="dynamic"), "int8", [FIRST, "QAT, 1 epoch"]),
        (recipe.Quantize(ranges="mse", equalize=True, correct_bias=True), "int8", [FIRST, "QAT, 1 epoch"]),
        (recipe.Quantize(equalize=True), "int8", [FIRST, SECOND, "equalized, biases corrected", "QAT, 1 epoch"]),
        (None, "int8-weights", [FIRST]),
    ],
)
def test_what_the_recipe_has_already_or_would_change_nothing_is_not_tried(
    quantize: recipe.Quantize | None, precision: str, expected: list[str], context: BuildContext, baseline: Baseline
) -> None:
    asked = search(replace(context, quantize=quantize), baseline, scripted(baseline, 0), max_drop=1.0, said=[])
    asked = replace(asked, candidate=Candidate(precision=precision, format="onnx"))  # type: ignore[arg-type]  # one of two
    tries = [Try(what="", validation=baseline.drop(baseline.trained), holds=False)]
    found = [attempt.what for attempt in budget._attempts(asked, tries) if not attempt.what.endswith(" in fp32")]
    assert found == expected


def test_a_model_that_is_a_file_is_neither_equalized_nor_trained(
    context: BuildContext, baseline: Baseline, few_splits: Splits, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(builders.onnx.fp32(context, X86).content)
    file = onnx_model.load(path, few_splits.preprocess, 4)
    assert isinstance(file, OnnxModel)
    alone = contexts.context(file, context.bench)
    said: list[Try] = []
    asked = search(alone, baseline, scripted(baseline, 10), max_drop=1.0, said=said)
    find(replace(asked, candidate=INT8_ONNX))
    assert names(said)[:2] == [FIRST, SECOND]
    assert all(each.what.endswith(" in fp32") for each in said[2:])
    assert len(said) > 2


def test_layers_that_cannot_be_ranked_are_a_try_that_failed_and_training_comes_next(
    few_splits: Splits, baseline: Baseline, tmp_path: Path
) -> None:
    # No layer that ONNX Runtime quantizes: the ranking fails, or is empty, and the ladder goes on without it.
    torch.manual_seed(0)
    gated = contexts.context(nn.Sequential(nn.Flatten(), nn.Softmax(1)).eval(), contexts.bench(few_splits, tmp_path))
    asked = search(gated, baseline, scripted(baseline, 0), max_drop=1.0, said=[])
    tries = [Try(what="", validation=None, holds=False)]
    found = list(budget._attempts(asked, tries))
    assert found[-1].what == "QAT, 1 epoch"
    assert [attempt.plan for attempt in found[1:3]] == [
        recipe.Quantize(ranges="mse"),
        recipe.Quantize(equalize=True, correct_bias=True),
    ]
    for attempt in found[3:-1]:
        assert attempt.what == "the most sensitive layers in fp32"
        assert isinstance(attempt.failure, StepError)
