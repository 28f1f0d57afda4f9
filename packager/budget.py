"""How much accuracy compression may cost, and what is tried, the cheap attempts first, until one costs less.

Every choice is made on the validation split. The evaluation set is looked at once, for the attempt that was chosen.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from packager import artifacts, builders, recipe
from packager.artifacts import Built
from packager.builders import BuildContext
from packager.check import Logits
from packager.evaluation import Labels
from packager.onnx_model import OnnxModel
from packager.quantize import sensitivity
from runner.errors import StepError
from runner.manifest import Candidate, Target
from runner.packing import BudgetRecord, Drop, Try
from runner.render import units
from runner.stats.paired import paired_difference

POINTS = 100
"""In one whole."""
LAYERS_BACK = (1, 2, 4)
"""How many of the most sensitive layers are left in fp32, one after the other."""

Answer = Callable[[Built], Logits]
"""Lets the runner execute an artifact on the validation split. Raises StepError."""
Say = Callable[[Try], None]
Refinement = Callable[[recipe.Quantize], recipe.Quantize]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Baseline:
    """What a drop is measured against: labels, and what the trained network in fp32 answers."""

    labels: Labels
    trained: Logits

    def drop(self, answers: Logits) -> Drop:
        """Return by how much less of the answers are right than the trained network's."""
        before, after = self._right(self.trained), self._right(answers)
        return Drop(
            samples=len(self.labels),
            top1=float(np.mean(after)),
            drop=float(np.mean(before) - np.mean(after)),
            interval=paired_difference(before.tolist(), after.tolist()),
        )

    def _right(self, answers: Logits) -> NDArray[np.bool_]:
        return np.asarray(answers.argmax(axis=1) == self.labels)


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A way of quantizing, and what tables call it."""

    what: str
    plan: recipe.Quantize
    failure: StepError | None = None
    """Why it cannot even be tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """The first artifact that holds the budget, or the best of those that do not."""

    built: Built
    chosen: str
    tries: tuple[Try, ...]

    def record(self, evaluation: Drop, max_drop: float) -> BudgetRecord:
        """Return how it went, once the evaluation set has been looked at."""
        held = any(each.holds and each.what == self.chosen for each in self.tries)
        return BudgetRecord(
            artifact=self.built.artifact.name,
            max_drop=max_drop,
            tries=self.tries,
            chosen=self.chosen,
            evaluation=evaluation,
            holds=held and evaluation.within(max_drop),
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Search:
    """What is tried for, and how it is judged."""

    candidate: Candidate
    context: BuildContext
    target: Target
    budget: recipe.Budget
    validation: Baseline
    answer: Answer
    say: Say


def find(search: Search) -> Found:
    """Make one attempt after the other. Raises StepError where none leads to an artifact that runs."""
    limit, tries = search.budget.max_drop / POINTS, list[Try]()
    best: tuple[float, str, Built] | None = None
    failure: StepError | None = None
    for attempt in _attempts(search, tries):
        try:
            if attempt.failure is not None:
                raise attempt.failure
            built = artifacts.build(search.candidate, replace(search.context, quantize=attempt.plan), search.target)
            drop = search.validation.drop(search.answer(built))
        except StepError as error:
            failure = failure or error
            tries.append(Try(what=attempt.what, validation=None, failure=error.what, holds=False))
        else:
            tries.append(Try(what=attempt.what, validation=drop, holds=drop.within(limit)))
            if best is None or drop.drop < best[0]:
                best = (drop.drop, attempt.what, built)
        search.say(tries[-1])
        if tries[-1].holds:
            break
    if best is None:
        raise failure or StepError("there is nothing to try for this artifact")
    return Found(built=best[2], chosen=best[1], tries=tuple(tries))


def _attempts(search: Search, tries: Sequence[Try]) -> Iterator[Attempt]:
    """Yield the ways that there are for this model, each with what has helped in the cheaper ones before it.

    `tries` grows while they are tried: what could not be made or run, or lost more, is not built upon.
    """
    context, plan = search.context, search.context.quantize or recipe.Quantize()
    base = plan
    has_module = not isinstance(context.network.model, OnnxModel)
    yield Attempt(what="as the recipe has it", plan=plan)
    if plan.method == "static" and plan.qat is None:
        least = _lost(tries[-1])
        for what, further in _refined(search, plan):
            yield Attempt(what=what, plan=further(plan))
            if tries[-1].validation and _lost(tries[-1]) <= least:
                plan, least = further(plan), _lost(tries[-1])
        yield from _layers_back(search, plan)
    if base.qat is None and has_module and search.candidate.precision == "int8":
        learning = replace(base, method="static", qat=search.budget.qat)
        yield Attempt(what=f"QAT, {units.counted(search.budget.qat.epochs, 'epoch')}", plan=learning)


def _lost(tried: Try) -> float:
    return tried.validation.drop if tried.validation else math.inf


def _refined(search: Search, plan: recipe.Quantize) -> Iterator[tuple[str, Refinement]]:
    """Yield what makes the integers of a calibrated network fit better, and is not in the recipe yet."""
    if search.candidate.precision != "int8":
        return  # integer weights alone are not calibrated
    if plan.ranges != "mse":
        yield "ranges by mse", lambda its: replace(its, ranges="mse")
    if not isinstance(search.context.network.model, OnnxModel) and not (plan.equalize and plan.correct_bias):
        yield "equalized, biases corrected", lambda its: replace(its, equalize=True, correct_bias=True)


def _layers_back(search: Search, plan: recipe.Quantize) -> Iterator[Attempt]:
    context = replace(search.context, quantize=plan)
    order = context.order(search.target)
    try:
        exported = builders.onnx.to_quantize(context, order)
        damage = sensitivity.sensitivity(exported.content, order, dynamic_batch=exported.dynamic_batch)
    except StepError as error:
        yield Attempt(what="the most sensitive layers in fp32", plan=plan, failure=error)
        return
    for count in LAYERS_BACK:
        if count < len(damage):
            worst = tuple(each.layer for each in damage[:count])
            kept = replace(plan, keep_fp32=(*plan.keep_fp32, *worst))
            yield Attempt(what=f"{', '.join(worst)} in fp32", plan=kept)
