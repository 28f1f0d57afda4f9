"""Weights that come with edgepack: a .safetensors file each, and beside it a card that says what they are."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import nn

import models
from packager import recipe, weights
from packager.data import Splits
from runner import atomic, codec
from runner.errors import EdgepackError, StepError, UsageError

NAME = "pretrained"
"""What `--weights` calls them."""
FOLDER = Path(models.__file__).parent / "weights"
TRAIN = "train it: --epochs 8 in place of --weights"
INSTALL_AGAIN = "install edgepack again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """What is to be known of trained weights."""

    model: str
    """A name of `pack models`."""
    data: str
    """What they were trained on: a name of `pack datasets`, or words of that kind."""
    classes: tuple[str, ...]
    """In the order of the answers."""
    channels: int
    height: int
    width: int
    mean: tuple[float, ...]
    """Per channel, of values in 0 to 1: how the images were normalised."""
    std: tuple[float, ...]
    accuracy: float
    """Top-1 on the test set, a fraction."""
    samples: int
    """Of the test set."""
    command: str
    """What made them."""
    sha256: str = ""
    """Of the weights' file."""
    note: str = ""

    @property
    def stem(self) -> str:
        """The files' name without a suffix."""
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.model}-{self.data}")

    def __str__(self) -> str:
        shape = f"{self.channels} x {self.height} x {self.width}"
        return f"{self.model} on {self.data} ({len(self.classes)} classes, {shape}, top-1 {self.accuracy:.2%})"


def cards(folder: Path = FOLDER) -> tuple[Card, ...]:
    """Return the cards of all weights there are. Raises StepError where one is damaged."""
    return tuple(_read(path) for path in sorted(folder.glob("*.json")))


def check(model: str, folder: Path = FOLDER) -> None:
    """Refuse, before any data are read, a model that there are no weights of. Raises UsageError."""
    known = cards(folder)
    if not any(card.model == model for card in known):
        what = f"there are no pretrained weights of {model}"
        raise UsageError(what, where=f"--weights {NAME}", advice=_listed(known))


def find(model: str, splits: Splits, folder: Path = FOLDER) -> Card:
    """Return the card of the weights of a model for these classes and images. Raises UsageError."""
    check(model, folder)
    own = [card for card in cards(folder) if card.model == model]
    problems = [(card, _unfit(card, splits)) for card in own]
    for card, problem in problems:
        if not problem:
            return card
    what = "; ".join(f"{card}: {problem}" for card, problem in problems)
    raise UsageError(f"no pretrained weights fit these data: {what}", where=f"--weights {NAME}", advice=TRAIN)


def normalised(splits: Splits, card: Card, data: recipe.Data) -> Splits:
    """Return the data normalised as the weights want it, but for what the recipe says itself."""
    preprocess = replace(
        splits.preprocess,
        mean=splits.preprocess.mean if data.mean else card.mean,
        std=splits.preprocess.std if data.std else card.std,
    )
    if preprocess == splits.preprocess:
        return splits
    return replace(splits, preprocess=preprocess, sha256=codec.digest([splits.sha256, codec.unstructure(preprocess)]))


def load(card: Card, module: nn.Module, folder: Path = FOLDER) -> None:
    """Set all weights of `module` to those that the card is for. Raises StepError."""
    path = folder / f"{card.stem}{weights.SAFETENSORS}"
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StepError(f"cannot be read: {error.strerror or error}", where=str(path), advice=INSTALL_AGAIN) from None
    if found != card.sha256:
        what = f"is damaged: its SHA-256 is {found[:12]}…, and the card says {card.sha256[:12]}…"
        raise StepError(what, where=str(path), advice=INSTALL_AGAIN)
    weights.load(path, module)


def write(module: nn.Module, card: Card, folder: Path = FOLDER) -> Card:
    """Write weights and their card into a folder, and return the card with their digest. Raises StepError."""
    path = folder / f"{card.stem}{weights.SAFETENSORS}"
    weights.save(module, path)
    whole = replace(card, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    try:
        atomic.write(folder / f"{card.stem}.json", codec.write_json(whole, indent=2))
    except EdgepackError as error:
        raise StepError(error.what, where=error.where, advice=error.advice) from None
    return whole


def _read(path: Path) -> Card:
    try:
        return codec.read_json(Card, path.read_bytes())
    except OSError as error:
        raise StepError(f"cannot be read: {error.strerror or error}", where=str(path), advice=INSTALL_AGAIN) from None
    except codec.InvalidDocumentError as error:
        raise StepError(f"is no card of weights: {error}", where=str(path), advice=INSTALL_AGAIN) from None


def _unfit(card: Card, splits: Splits) -> str:
    """Return why the weights are not for these data, or nothing."""
    shape = splits.preprocess
    if len(card.classes) != len(splits.classes):
        return f"the data have {len(splits.classes)} classes"
    if card.channels != shape.channels:
        return f"the images have {shape.channels} channels"
    ours, theirs = _plain(card.classes), _plain(splits.classes)
    if ours != theirs:
        same = sorted(ours) == sorted(theirs)
        different = next(name for name, plain in zip(splits.classes, theirs, strict=True) if plain not in ours or same)
        return "the data have its classes in another order" if same else f"the data have a class {different!r}"
    if (card.height, card.width) != (shape.height, shape.width):
        advice = f", use --image-size {card.height}" if card.height == card.width else ""
        return f"the images have {shape.height} x {shape.width} pixels{advice}"
    return ""


def _plain(classes: Sequence[str]) -> list[str]:
    """Return names as they are when written in other ways: `T-shirt/top` cannot be a folder's name."""
    return [re.sub(r"[\W_]+", "", name).lower() for name in classes]


def _listed(known: tuple[Card, ...]) -> str:
    return f"there are {'; '.join(map(str, known))}" if known else TRAIN
