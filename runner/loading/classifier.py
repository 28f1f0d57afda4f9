"""A loaded artifact as a program sees it: called with samples, it returns logits."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from runner import images
from runner.bundle import INPUTS, Bundle
from runner.errors import UsageError
from runner.loading.choice import Choice
from runner.logits import log_softmax
from runner.manifest import Artifact, Preprocess
from runner.runtimes import Session

Samples = NDArray[np.generic]
Prepared = NDArray[np.float32]
Logits = NDArray[np.float32]
Run = Callable[[Prepared], Logits]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """How probable a class is, by the softmax of the logits."""

    label: str
    index: int
    """Of the class."""
    probability: float


class Classifier:
    """An artifact that runs here and answers as it did on the host. Threads may share it."""

    def __init__(
        self, run: Run, *, choice: Choice, classes: tuple[str, ...], preprocess: Preprocess, dtype: str
    ) -> None:
        self.choice = choice
        self.classes = classes
        self.preprocess = preprocess
        self.shape = (preprocess.channels, preprocess.height, preprocess.width)
        """Of a sample: channels, height, width."""
        self.dtype = np.dtype(dtype)
        """Of stored samples."""
        self._prepare = preprocess.ready()
        self._run = run

    def __call__(self, samples: Samples) -> Logits:
        """Return the logits, N x classes, of samples as the bundle stores them, N x C x H x W. Raises UsageError."""
        return self.run(self.prepare(samples))

    def prepare(self, samples: Samples) -> Prepared:
        """Return what `run` takes: samples scaled and normalised as the manifest says. Raises UsageError."""
        self._hold("samples", samples, self.dtype, "what was packed, not scaled; `run` takes what is prepared")
        return self._prepare(samples)

    def run(self, prepared: Prepared) -> Logits:
        """Return the logits of samples that are prepared already, float32. Raises UsageError."""
        if type(prepared) is not np.ndarray or prepared.dtype != np.float32 or prepared.shape[1:] != self.shape:
            self._hold("prepared samples", prepared, np.dtype(np.float32), "what `prepare` returns")
        if not len(prepared):
            return np.empty((0, len(self.classes)), np.float32)
        # Runtimes take memory as it lies, and some of them warn of what they could not write to.
        return self._run(prepared if prepared.flags.carray else np.array(prepared, order="C"))

    def predict(self, samples: Samples, top: int = 5) -> tuple[tuple[Score, ...], ...]:
        """Return for each sample the `top` most probable classes, the first before the others. Raises UsageError."""
        if top < 1:
            raise UsageError(f"top: expected 1 or more, got {top}")
        logits = self(samples)
        return tuple(self._best(row, top) for row in np.exp(log_softmax(logits))) if len(logits) else ()

    def decode(self, file: str | Path) -> NDArray[np.uint8]:
        """Return an image file as one stored sample, 1 x C x H x W, brought to size as `pack` does it.

        Raises UsageError, and RuntimeUnavailable without Pillow.
        """
        channels, height, width = self.shape
        if self.dtype != np.uint8 or channels not in (1, 3):
            what = f"the samples of this bundle are no images: {self._expected(self.dtype)}"
            raise UsageError(what, where=str(file), advice="runner.load, and call it with arrays")
        images.hold_pillow()
        try:
            return images.decode(Path(file), (height, width), channels)[None]
        except images.UndecodableError as error:
            raise UsageError(f"this image cannot be decoded: {error}", where=str(file)) from None

    def close(self) -> None:
        """Let go of the runtime's session. Calls in other threads come to their end."""
        self._run = _closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._run is _closed else f"{self.choice.threads} threads"
        return f"<Classifier {self.choice.name}, {state}>"

    def _best(self, row: NDArray[np.float64], top: int) -> tuple[Score, ...]:
        order = np.argsort(-row, kind="stable")[:top].tolist()
        return tuple(Score(label=self.classes[index], index=index, probability=float(row[index])) for index in order)

    def _hold(self, what: str, given: object, dtype: np.dtype[np.generic], advice: str) -> None:
        """Raise UsageError for anything but an array of this dtype and of the samples' shape."""
        if not isinstance(given, np.ndarray):
            found = f"a {type(given).__name__}"
        elif given.dtype != dtype or given.shape[1:] != self.shape:
            found = f"{given.dtype} of the shape {given.shape}"
        else:
            return
        raise UsageError(f"{what}: expected {self._expected(dtype)}, got {found}", advice=advice)

    def _expected(self, dtype: np.dtype[np.generic]) -> str:
        return f"{dtype}, N x {' x '.join(map(str, self.shape))}"


def classifier(bundle: Bundle, artifact: Artifact, session: Session, choice: Choice) -> Classifier:
    """Return an artifact of a bundle, loaded as `session`, to be called."""
    run = session.run if session.thread_safe else in_turn(session.run)
    return Classifier(
        run if artifact.dynamic_batch else one_by_one(run),
        choice=choice,
        classes=bundle.manifest.classes,
        preprocess=bundle.manifest.preprocess,
        dtype=bundle.locate(INPUTS).dtype,
    )


def in_turn(run: Run) -> Run:
    """Return a call that one thread makes after the other."""
    lock = threading.Lock()

    def alone(prepared: Prepared) -> Logits:
        with lock:
            # Copied before the next call, which may write where this answer lies.
            return np.array(run(prepared), np.float32)

    return alone


def one_by_one(run: Run) -> Run:
    """Return a call that gives a runtime one sample at a time."""

    def singly(prepared: Prepared) -> Logits:
        if len(prepared) == 1:
            return run(prepared)
        return np.concatenate([run(prepared[index : index + 1]) for index in range(len(prepared))])

    return singly


def _closed(prepared: Prepared) -> Logits:
    raise UsageError("this classifier is closed", advice="call it inside its `with` block, or load the bundle again")
