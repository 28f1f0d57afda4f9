"""Numbers that no pack could work with are told by their keys, all of them at once."""

from dataclasses import replace
from typing import Any

import pytest

from packager import bounds
from packager.recipe import Budget, Data, Prune, Qat, Quantize, Recipe, Train, Variant

VARIANT = Variant(name="half", prune=Prune(amounts={"stack1.*": 0.25}), quantize=Quantize(qat=Qat()), artifacts=())
WHOLE = Recipe(
    train=Train(),
    prune=Prune(amounts={"conv1": 0.5}),
    quantize=Quantize(qat=Qat()),
    variants=(VARIANT,),
    budget=Budget(max_drop=1.0),
)
NAN, INFINITE = float("nan"), float("inf")
LARGEST = (1 << 63) - 1

BEYOND: list[tuple[str, float, str]] = [
    ("seed", -1, "0 to 9223372036854775807"),
    ("seed", LARGEST + 1, "0 to 9223372036854775807"),
    ("train.epochs", -1, "0 or more"),
    ("train.share", 0.0, "above 0 and up to 1"),
    ("train.share", 1.01, "above 0 and up to 1"),
    ("train.share", NAN, "above 0 and up to 1"),
    ("train.batch_size", 1, "2 or more"),
    ("train.learning_rate", 0.0, "above 0"),
    ("train.learning_rate", NAN, "above 0"),
    ("train.learning_rate", INFINITE, "above 0"),
    ("train.weight_decay", -0.1, "0 or more"),
    ("train.weight_decay", INFINITE, "0 or more"),
    ("train.label_smoothing", 1.0, "0 or more and below 1"),
    ("train.label_smoothing", -0.1, "0 or more and below 1"),
    ("prune.amount", 0.0, "above 0 and below 1"),
    ("prune.amount", 1.0, "above 0 and below 1"),
    ("prune.amount", NAN, "above 0 and below 1"),
    ("prune.fine_tune_epochs", -1, "0 or more"),
    ("prune.fine_tune_share", 0.0, "above 0 and up to 1"),
    ("prune.fine_tune_share", 2.0, "above 0 and up to 1"),
    ("prune.fine_tune_learning_rate", 0.0, "above 0"),
    ("prune.round_to", 0, "1 or more"),
    ("prune.steps", 0, "1 to 100"),
    ("prune.steps", 101, "1 to 100"),
    ("prune.distil", -0.1, "0 to 1"),
    ("prune.distil", 1.1, "0 to 1"),
    ("quantize.percentile", 50.0, "above 50 and up to 100"),
    ("quantize.percentile", 100.1, "above 50 and up to 100"),
    ("quantize.qat.epochs", 0, "1 or more"),
    ("quantize.qat.share", 0.0, "above 0 and up to 1"),
    ("quantize.qat.learning_rate", 0.0, "above 0"),
    ("quantize.qat.distil", 2.0, "0 to 1"),
    ("budget.max_drop", -0.1, "0 to 100 points"),
    ("budget.max_drop", 100.5, "0 to 100 points"),
    ("budget.max_drop", NAN, "0 to 100 points"),
    ("budget.qat.epochs", 0, "1 or more"),
    ("budget.qat.learning_rate", -1.0, "above 0"),
    ("export.opset", 17, "18 to 23"),
    ("export.opset", 24, "18 to 23"),
    ("measure.threads", 0, "1 to 1024"),
    ("measure.threads", 1025, "1 to 1024"),
    ("data.image_size", 7, "at least 8"),
    ("data.validation", 0.0, "a share between 0 and 1"),
    ("data.validation", 1.0, "a share between 0 and 1"),
    ("data.calibration_samples", 0, "at least 1"),
    ("data.evaluation_samples", 0, "at least 1"),
]

AT: list[tuple[str, float]] = [
    ("seed", 0),
    ("seed", LARGEST),
    ("train.epochs", 0),
    ("train.share", 1.0),
    ("train.share", 1e-9),
    ("train.batch_size", 2),
    ("train.learning_rate", 1e-9),
    ("train.weight_decay", 0.0),
    ("train.label_smoothing", 0.0),
    ("prune.amount", 0.99),
    ("prune.fine_tune_epochs", 0),
    ("prune.fine_tune_share", 1.0),
    ("prune.round_to", 1),
    ("prune.steps", 1),
    ("prune.steps", 100),
    ("prune.distil", 0.0),
    ("prune.distil", 1.0),
    ("quantize.percentile", 100.0),
    ("quantize.percentile", 50.1),
    ("quantize.qat.epochs", 1),
    ("quantize.qat.distil", 0.0),
    ("budget.max_drop", 0.0),
    ("budget.max_drop", 100.0),
    ("export.opset", 18),
    ("export.opset", 23),
    ("measure.threads", 1),
    ("measure.threads", 1024),
    ("data.image_size", 8),
    ("data.calibration_samples", 1),
    ("data.evaluation_samples", 1),
]


def changed(key: str, value: float) -> Recipe:
    """Return a recipe of every step with one number in another place."""
    found: Recipe = _changed(WHOLE, key.split("."), value)
    return found


def _changed(table: Any, path: list[str], value: float) -> Any:
    name, *rest = path
    return replace(table, **{name: _changed(getattr(table, name), rest, value) if rest else value})


def test_the_recipe_that_the_others_are_changed_from_is_within_all_bounds() -> None:
    assert bounds.contradictions(WHOLE) == []
    assert bounds.contradictions(Recipe()) == []


@pytest.mark.parametrize(("key", "value", "expected"), BEYOND)
def test_a_number_beyond_its_bounds_is_told_by_its_key(key: str, value: float, expected: str) -> None:
    assert bounds.contradictions(changed(key, value)) == [f"{key}: expected {expected}, got {value}"]


@pytest.mark.parametrize(("key", "value"), AT)
def test_a_number_at_its_bounds_is_taken(key: str, value: float) -> None:
    assert bounds.contradictions(changed(key, value)) == []


def test_a_share_of_one_layers_channels_is_told_with_its_pattern() -> None:
    wrong = replace(WHOLE, prune=Prune(amounts={"conv1": 0.0, "stack*.conv2": 1.0, "linear": -0.5}))
    assert bounds.contradictions(wrong) == [
        "prune.amounts.stack*.conv2: expected 0 or more and below 1, got 1.0",
        "prune.amounts.linear: expected 0 or more and below 1, got -0.5",
    ]


def test_the_numbers_of_a_variant_are_told_with_its_name() -> None:
    variant = replace(VARIANT, prune=Prune(amount=1.5), quantize=Quantize(percentile=1.0, qat=Qat(epochs=0)))
    assert bounds.contradictions(replace(WHOLE, variants=(VARIANT, variant))) == [
        "variants.half.prune.amount: expected above 0 and below 1, got 1.5",
        "variants.half.quantize.percentile: expected above 50 and up to 100, got 1.0",
        "variants.half.quantize.qat.epochs: expected 1 or more, got 0",
    ]


def test_a_normalisation_that_cannot_be_computed_with_is_told() -> None:
    wrong = replace(WHOLE, data=Data(mean=(0.5, NAN), std=(0.0, 1.0, INFINITE)))
    assert bounds.contradictions(wrong) == [
        "data.mean: expected a finite number, got nan",
        "data.std: expected above 0, got 0.0",
        "data.std: expected above 0, got inf",
    ]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (Data(mean=(0.5,)), "data.std: expected one beside data.mean, got none"),
        (Data(std=(0.5, 0.0, 0.0)), "data.mean: expected one beside data.std, got none"),
    ],
)
def test_a_mean_without_a_deviation_or_the_other_way_round_is_told(data: Data, told: str) -> None:
    found = bounds.contradictions(replace(WHOLE, data=data))
    assert found[0] == told
    assert len(found) == len(set(found))


def test_every_number_out_of_bounds_is_told_at_once() -> None:
    wrong = replace(WHOLE, seed=-1, train=Train(epochs=-1), prune=Prune(amount=2.0), budget=Budget(max_drop=-1.0))
    assert bounds.contradictions(wrong) == [
        "seed: expected 0 to 9223372036854775807, got -1",
        "train.epochs: expected 0 or more, got -1",
        "prune.amount: expected above 0 and below 1, got 2.0",
        "budget.max_drop: expected 0 to 100 points, got -1.0",
    ]
