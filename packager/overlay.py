"""Single keys of a recipe, set from the command line: `--set prune.importance=taylor`."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from packager.recipe import Recipe, Train, ways
from runner import codec
from runner.errors import UsageError
from runner.manifest import Json


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A table of a recipe whose absence means that nothing of the kind is done."""

    key: str
    asks: tuple[str, ...]
    """The keys that say whether, or how much: they ask for the step, as all others do not."""
    advice: str


STEPS = (
    Step(key="train", asks=("train.epochs",), advice="--epochs N"),
    Step(key="prune", asks=("prune.amount", "prune.method"), advice="--prune X"),
    Step(key="quantize", asks=("quantize.method",), advice="--quantize static, or --set quantize.method=static"),
    Step(key="budget", asks=("budget.max_drop",), advice="--max-drop X"),
    Step(key="optimise", asks=("optimise.for_s",), advice="--optimise-for 120s"),
)
TUNED = ("prune", "quantize.qat", "budget", "variants")
"""What begins so may train further, as [train] has it, without epochs of its own."""


def overlay(recipe: Recipe, settings: Sequence[str]) -> Recipe:
    """Return the recipe with keys such as `prune.importance=taylor` set. Raises UsageError with every problem.

    A step that the recipe does not have is not begun by a detail of it.
    """
    if not settings:
        return recipe
    table = codec.unstructure(recipe)
    pairs = [_pair(setting) for setting in settings]
    keys = [key for key, _ in pairs]
    if recipe.train is None and (fine_tunes(recipe) or any(key.startswith(TUNED) for key in keys)):
        table["train"] = codec.unstructure(Train(epochs=0))
    _refuse_details(table, keys)
    for key, value in pairs:
        *path, last = key.split(".")
        inner = table
        for name in path:
            if not isinstance(inner.get(name), dict):
                inner[name] = {}
            inner = inner[name]
        inner[last] = _value(value)
    try:
        found = codec.structure(Recipe, table)
    except codec.InvalidDocumentError as error:
        advice = "a key of the recipe, as `pack inspect BUNDLE --recipe` shows"
        raise UsageError(str(error), where="--set", advice=advice) from None
    return replace(found, train=None) if found.train == Train(epochs=0) != recipe.train else found


def _pair(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not equals or not all(key.strip().split(".")):
        raise UsageError("expected KEY=VALUE, as in prune.importance=taylor", where=f"--set {setting}")
    return key.strip(), value.strip()


def _refuse_details(table: Mapping[str, Json], keys: Sequence[str]) -> None:
    """Raise UsageError for keys of a step that is absent, and that none of the keys asks for."""
    for step in STEPS:
        details = [key for key in keys if key.startswith(f"{step.key}.")]
        if details and table.get(step.key) is None and not {step.key, *step.asks}.intersection(keys):
            what = f"there is no [{step.key}] that this could be for"
            raise UsageError(what, where=f"--set {', '.join(details)}", advice=step.advice)


def fine_tunes(recipe: Recipe) -> bool:
    """Say whether something is trained after pruning, or with the rounding of int8, as [train] has it."""
    steps = ways(recipe)
    prunes = any(each.prune is not None and each.prune.fine_tune_epochs for each in steps)
    return prunes or any(each is not None and each.qat for each in (recipe.budget, *(way.quantize for way in steps)))


def _value(text: str) -> Json:
    """Return what TOML makes of a value; a bare word is a string."""
    try:
        value: Json = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
    return value
