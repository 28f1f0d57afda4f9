"""The numbers of a recipe that have bounds, and the bounds."""

import math
from collections.abc import Iterator

from packager.recipe import LARGEST_SEED, MOST_THREADS, SMALLEST_SIDE, Data, Prune, Qat, Quantize, Recipe, Train, ways

Bound = tuple[str, float | str, str, bool]
"""A key, its value, the bounds in words, and whether they hold."""


def contradictions(recipe: Recipe) -> list[str]:
    """Return what no pack could do, each as `key: what is wrong`: told before a minute is spent on it."""
    found = [f"{key}: expected {expected}, got {value}" for key, value, expected, holds in _bounds(recipe) if not holds]
    return list(dict.fromkeys(found))


def _bounds(recipe: Recipe) -> Iterator[Bound]:
    seed, opset, threads = recipe.seed, recipe.export.opset, recipe.measure.threads
    yield "seed", seed, f"0 to {LARGEST_SEED}", 0 <= seed <= LARGEST_SEED
    yield from _data(recipe.data)
    if recipe.train:
        yield from _train(recipe.train)
    for way in ways(recipe):
        place = f"variants.{way.name}." if way.name else ""
        if way.prune:
            yield from _prune(f"{place}prune", way.prune)
        if way.quantize:
            yield from _quantize(f"{place}quantize", way.quantize)
    if budget := recipe.budget:
        yield "budget.max_drop", budget.max_drop, "0 to 100 points", 0 <= budget.max_drop <= 100
        yield from _qat("budget.qat", budget.qat)
    if optimise := recipe.optimise:
        yield "optimise.for_s", optimise.for_s, "a number of seconds above 0", 0 < optimise.for_s < math.inf
    yield "export.opset", opset, "18 to 23", 18 <= opset <= 23
    if recipe.choose:
        yield "choose.keep", recipe.choose.keep, "1 or more", recipe.choose.keep >= 1
    if threads is not None:
        yield "measure.threads", threads, f"1 to {MOST_THREADS}", 1 <= threads <= MOST_THREADS


def _data(data: Data) -> Iterator[Bound]:
    if data.image_size is not None:
        yield "data.image_size", data.image_size, f"at least {SMALLEST_SIDE}", data.image_size >= SMALLEST_SIDE
    yield "data.validation", data.validation, "a share between 0 and 1", 0 < data.validation < 1
    yield "data.calibration_samples", data.calibration_samples, "at least 1", data.calibration_samples >= 1
    yield "data.evaluation_samples", data.evaluation_samples, "at least 1", data.evaluation_samples >= 1
    if (data.mean is None) != (data.std is None):
        missing, present = ("mean", "std") if data.mean is None else ("std", "mean")
        yield f"data.{missing}", "none", f"one beside data.{present}", False
    for value in data.mean or ():
        yield "data.mean", value, "a finite number", math.isfinite(value)
    for value in data.std or ():
        yield "data.std", value, "above 0", 0 < value < math.inf


def _train(train: Train) -> Iterator[Bound]:
    smoothing = train.label_smoothing
    yield "train.epochs", train.epochs, "0 or more", train.epochs >= 0
    yield "train.share", train.share, "above 0 and up to 1", 0 < train.share <= 1
    yield "train.batch_size", train.batch_size, "2 or more", train.batch_size >= 2
    yield from _rate("train.learning_rate", train.learning_rate)
    yield "train.weight_decay", train.weight_decay, "0 or more", 0 <= train.weight_decay < math.inf
    yield "train.label_smoothing", smoothing, "0 or more and below 1", 0 <= smoothing < 1


def _prune(place: str, prune: Prune) -> Iterator[Bound]:
    share = prune.fine_tune_share
    yield f"{place}.amount", prune.amount, "above 0 and below 1", 0 < prune.amount < 1
    yield f"{place}.fine_tune_epochs", prune.fine_tune_epochs, "0 or more", prune.fine_tune_epochs >= 0
    yield f"{place}.fine_tune_share", share, "above 0 and up to 1", 0 < share <= 1
    yield from _rate(f"{place}.fine_tune_learning_rate", prune.fine_tune_learning_rate)
    yield f"{place}.round_to", prune.round_to, "1 or more", prune.round_to >= 1
    yield f"{place}.steps", prune.steps, "1 to 100", 1 <= prune.steps <= 100
    yield f"{place}.distil", prune.distil, "0 to 1", 0 <= prune.distil <= 1
    for pattern, amount in prune.amounts.items():
        yield f"{place}.amounts.{pattern}", amount, "0 or more and below 1", 0 <= amount < 1


def _quantize(place: str, quantize: Quantize) -> Iterator[Bound]:
    percentile = quantize.percentile
    yield f"{place}.percentile", percentile, "above 50 and up to 100", 50 < percentile <= 100
    if quantize.qat:
        yield from _qat(f"{place}.qat", quantize.qat)


def _qat(place: str, qat: Qat) -> Iterator[Bound]:
    yield f"{place}.epochs", qat.epochs, "1 or more", qat.epochs >= 1
    yield f"{place}.share", qat.share, "above 0 and up to 1", 0 < qat.share <= 1
    yield from _rate(f"{place}.learning_rate", qat.learning_rate)
    yield f"{place}.distil", qat.distil, "0 to 1", 0 <= qat.distil <= 1


def _rate(place: str, rate: float) -> Iterator[Bound]:
    yield place, rate, "above 0", 0 < rate < math.inf
