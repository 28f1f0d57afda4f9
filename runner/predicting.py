"""What is on images: the classes and their probabilities, by the artifact that `runner.load` chooses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import images, loading
from runner.errors import UsageError
from runner.loading.classifier import Classifier, Score
from runner.output import Look, Output
from runner.progress import Progress
from runner.render import units
from runner.render.page import Listing, Page, Table
from runner.requests import PredictRequest


@dataclass(frozen=True, kw_only=True, slots=True)
class Predicted:
    """What is on one image."""

    image: str
    classes: tuple[Score, ...]
    """The most probable first; none where the image cannot be read."""
    error: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Predictions:
    """What is on several images, and what says so."""

    artifact: str
    reason: str
    """Why this artifact."""
    passed_over: tuple[str, ...]
    advice: str
    images: tuple[Predicted, ...]


def predict_images(request: PredictRequest, look: Look, progress: Progress) -> Output:
    """Say what is on each image; one that cannot be read is told, and no matter of the others."""
    images.hold_pillow()
    with loading.load(request.bundle, prefer=request.prefer, threads=request.threads) as network:
        predicted = tuple(_predict(network, request.images, request.top, progress))
        choice = network.choice
    found = Predictions(
        artifact=choice.name,
        reason=choice.reason,
        passed_over=tuple(each.line for each in choice.passed_over),
        advice=choice.advice,
        images=predicted,
    )
    failed = any(each.error for each in predicted)
    return Output(text=look.show(found, _page(found)), exit_code=UsageError.exit_code if failed else 0)


def _predict(network: Classifier, files: Sequence[Path], top: int, progress: Progress) -> Iterator[Predicted]:
    # One by one: what is held does not grow with their number.
    for file in files:
        try:
            (scores,) = network.predict(network.decode(file), top)
        except UsageError as error:
            progress.say(f"error: {error}")
            yield Predicted(image=str(file), classes=(), error=error.what)
        else:
            yield Predicted(image=str(file), classes=scores)


def _page(found: Predictions) -> Page:
    rows = tuple(
        ("" if place else each.image, score.label, units.percent(score.probability))
        for each in found.images
        for place, score in enumerate(each.classes)
    )
    advice = (f"try: {found.advice}",) if found.advice else ()
    notes = (*(f"passed over {line}" for line in found.passed_over), *advice)
    table = (Table(columns=("image", "class", "probability"), rows=rows, left=2),) if rows else ()
    return (*table, Listing(head=f"By {found.artifact}: {found.reason}", lines=notes))
