"""The numbers of a recipe that have bounds, and the bounds."""

import math
from collections.abc import Iterator

from packager.recipe import LARGEST_SEED, MOST_THREADS, SMALLEST_SIDE, Data, Recipe


def contradictions(recipe: Recipe) -> list[str]:
    """Return what no pack could do, each as `key: what is wrong`: told before a minute is spent on it."""
    return [f"{key}: expected {expected}, got {value}" for key, value, expected, holds in _bounds(recipe) if not holds]


def _bounds(recipe: Recipe) -> Iterator[tuple[str, float, str, bool]]:
    """Yield, for each number that has bounds, its key, its value, the bounds in words, and whether they hold."""
    seed, opset, threads = recipe.seed, recipe.export.opset, recipe.measure.threads
    yield "seed", seed, f"0 to {LARGEST_SEED}", 0 <= seed <= LARGEST_SEED
    yield from _data_bounds(recipe.data)
    if train := recipe.train:
        yield "train.epochs", train.epochs, "0 or more", train.epochs >= 0
        yield "train.batch_size", train.batch_size, "2 or more", train.batch_size >= 2
        yield "train.learning_rate", train.learning_rate, "above 0", 0 < train.learning_rate < math.inf
        yield "train.weight_decay", train.weight_decay, "0 or more", 0 <= train.weight_decay < math.inf
        smoothing = train.label_smoothing
        yield "train.label_smoothing", smoothing, "0 or more and below 1", 0 <= smoothing < 1
    if prune := recipe.prune:
        yield "prune.amount", prune.amount, "above 0 and below 1", 0 < prune.amount < 1
        yield "prune.fine_tune_epochs", prune.fine_tune_epochs, "0 or more", prune.fine_tune_epochs >= 0
        rate = prune.fine_tune_learning_rate
        yield "prune.fine_tune_learning_rate", rate, "above 0", 0 < rate < math.inf
        yield "prune.round_to", prune.round_to, "1 or more", prune.round_to >= 1
        yield "prune.steps", prune.steps, "1 or more", prune.steps >= 1
        yield "prune.distil", prune.distil, "0 to 1", 0 <= prune.distil <= 1
        for pattern, amount in prune.amounts.items():
            yield f"prune.amounts.{pattern}", amount, "0 or more and below 1", 0 <= amount < 1
    yield "export.opset", opset, "18 to 23", 18 <= opset <= 23
    if threads is not None:
        yield "measure.threads", threads, f"1 to {MOST_THREADS}", 1 <= threads <= MOST_THREADS


def _data_bounds(data: Data) -> Iterator[tuple[str, float, str, bool]]:
    if data.image_size is not None:
        yield "data.image_size", data.image_size, f"at least {SMALLEST_SIDE}", data.image_size >= SMALLEST_SIDE
    yield "data.validation", data.validation, "a share between 0 and 1", 0 < data.validation < 1
    yield "data.calibration_samples", data.calibration_samples, "at least 1", data.calibration_samples >= 1
    yield "data.evaluation_samples", data.evaluation_samples, "at least 1", data.evaluation_samples >= 1
    for value in data.mean or ():
        yield "data.mean", value, "a finite number", math.isfinite(value)
    for value in data.std or ():
        yield "data.std", value, "above 0", 0 < value < math.inf
