"""What to do to a model. A table that is absent is a step that is not run."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from runner import codec
from runner.errors import UsageError
from runner.manifest import Json
from runner.report import Effort

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "plateau"]
Augment = Literal["none", "flip", "shift", "shift-flip"]
PruneMethod = Literal["l1"]
QuantizeMethod = Literal["static", "dynamic"]
Compute = Literal["auto", "cpu", "cuda"]
LARGEST_SEED = (1 << 63) - 1
SMALLEST_SIDE = 8
"""Of an image, in pixels: the least that a network can use."""
MOST_THREADS = 1024
"""Beyond what any machine has, a runtime spends its minutes on starting them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The network, and where its weights come from."""

    name: str = "wide_cnn"
    """A name of `pack models`, `torchvision:NAME`, or `path/to/net.py:Callable`."""
    weights: str | None = None
    """A .pth, .pt or .safetensors file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The images, and how they are split and prepared."""

    source: str = "embedded"
    """A name of `pack datasets`, a folder, or an .npz file."""
    data_dir: str | None = None
    """Where the named data sets of torchvision are looked for, and downloaded to."""
    image_size: int | None = None
    """Height and width after resizing; by default the one size that all have, or 224 where it is large or differs."""
    validation: float = 0.1
    """Share of the training data that is held out for every choice that is made."""
    calibration_samples: int = 512
    evaluation_samples: int = 2000
    mean: tuple[float, ...] | None = None
    """Per channel, of values in 0 to 1; by default that of the training data."""
    std: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Training from the weights that the model starts with."""

    epochs: int = 8
    batch_size: int = 64
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "one-cycle"
    learning_rate: float = 0.004
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    augment: Augment = "flip"
    """Mirror images, and random shifts of up to an eighth of the image: for digits and letters take `shift`."""
    compute: Compute = "auto"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prune:
    """Weights set to zero, and the training after it that lets the others adapt."""

    method: PruneMethod = "l1"
    amount: float = 0.5
    fine_tune_epochs: int = 2
    fine_tune_learning_rate: float = 0.001


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantize:
    """How the int8 artifacts are made."""

    method: QuantizeMethod = "static"


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The files' formats."""

    opset: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """How the artifacts are measured on the host."""

    effort: Effort = "quick"
    threads: int | None = None
    """By default as many as there are usable CPUs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what is in a bundle, but for the target."""

    seed: int = 0
    model: Model = Model()
    data: Data = Data()
    train: Train | None = None
    prune: Prune | None = None
    quantize: Quantize | None = None
    export: Export = Export()
    measure: Measure = Measure()


def load(path: Path) -> Recipe:
    """Read a recipe from a TOML file. Raises UsageError with every problem."""
    try:
        return codec.read_toml(Recipe, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise UsageError("is not a text file", where=str(path)) from None
    except codec.InvalidDocumentError as error:
        raise UsageError(str(error), where=str(path), advice="see `pack --help` and the README's recipe") from None


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


def described(recipe: Recipe) -> str:
    """Return the steps of a recipe in one line."""
    model, train, prune, quantize = recipe.model, recipe.train, recipe.prune, recipe.quantize
    steps = [
        f"{model.name}{' with given weights' if model.weights else ''} on {recipe.data.source}",
        f"train {train.epochs} epochs" if train and train.epochs else "no training",
        f"prune {prune.amount:.0%}" if prune else "no pruning",
        f"quantize {quantize.method}" if quantize else "no int8",
    ]
    return ", ".join(steps)


def to_toml(recipe: Recipe) -> str:
    """Return the recipe as the TOML that `load` reads; what is not set is left out."""
    import tomli_w  # noqa: PLC0415 - the host's alone

    return tomli_w.dumps(_without_none(codec.unstructure(recipe)))


def _without_none(table: dict[str, Json]) -> dict[str, Json]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in table.items()
        if value is not None
    }
