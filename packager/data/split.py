"""Divide a data set into parts for training, choosing, calibrating and judging, and measure its normalisation."""

import hashlib
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from packager import recipe
from packager.data.dataset import Dataset, Indices, Samples, Splits
from runner import codec
from runner.errors import StepError, UsageError
from runner.manifest import Preprocess

TEST_SHARE = 0.2
CHUNK = 1024


def split(dataset: Dataset, data: recipe.Data, seed: int) -> Splits:
    """Divide `dataset` by class and by seed. Raises UsageError and StepError.

    Parts for training and validation keep the source's order; those for calibration and evaluation go through the
    classes in turn, so that any first few of them are balanced.
    """
    train, test = dataset.train, dataset.test
    if test is None:
        train, test = _hold_out(train, TEST_SHARE, _generator(seed, "test"))
    train, validation = _hold_out(train, data.validation, _generator(seed, "validation"))
    if not len(validation):
        what = f"{len(train)} training images are too few to hold out {data.validation:.0%} of each class"
        raise StepError(what, where=dataset.source, advice="add images, or raise the share with data.validation")
    calibration = _balanced(train, data.calibration_samples, _generator(seed, "calibration"))
    evaluation = _balanced(test, data.evaluation_samples, _generator(seed, "evaluation"))
    preprocess = _preprocess(train, data, dataset.resize)
    return Splits(
        train=train,
        validation=validation,
        calibration=calibration,
        evaluation=evaluation,
        classes=dataset.classes,
        preprocess=preprocess,
        sha256=_digest((train, validation, calibration, evaluation), dataset.classes, preprocess),
    )


def _generator(seed: int, purpose: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def _ranks(labels: NDArray[np.int64], generator: np.random.Generator) -> Indices:
    """Return the place of each sample in a random order of its own class."""
    order = generator.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    firsts = np.cumsum(counts) - counts
    ranks = np.empty(len(labels), np.int64)
    ranks[by_class] = np.arange(len(labels)) - firsts[labels[by_class]]
    return ranks


def _hold_out(samples: Samples, share: float, generator: np.random.Generator) -> tuple[Samples, Samples]:
    """Return the rest, and `share` of every class; at least one of each class that has two."""
    counts = np.bincount(samples.labels)
    quota = np.clip(np.rint(counts * share), 1, np.maximum(counts - 1, 0))
    held = _ranks(samples.labels, generator) < quota[samples.labels]
    return samples.subset(np.flatnonzero(~held)), samples.subset(np.flatnonzero(held))


def _balanced(samples: Samples, count: int, generator: np.random.Generator) -> Samples:
    """Return up to `count` samples, taken from the classes in turn."""
    ranks = _ranks(samples.labels, generator)
    return samples.subset(np.lexsort((generator.permutation(len(samples)), ranks))[:count])


def _preprocess(train: Samples, data: recipe.Data, resize: str) -> Preprocess:
    _, channels, height, width = train.base.shape
    scale = 1 / 255 if train.base.dtype == np.uint8 else 1.0
    measured = (None, None) if data.mean and data.std else _statistics(train, scale)
    return Preprocess(
        channels=channels,
        height=height,
        width=width,
        scale=scale,
        mean=_per_channel("data.mean", data.mean or measured[0], channels),
        std=_per_channel("data.std", data.std or measured[1], channels),
        resize=resize,
    )


def _per_channel(key: str, values: tuple[float, ...] | None, channels: int) -> tuple[float, ...]:
    if values is None or len(values) not in (1, channels):
        number = 0 if values is None else len(values)
        raise UsageError(f"expected 1 or {channels} values, one per channel, got {number}", where=key)
    return values * channels if len(values) == 1 else values


def _statistics(samples: Samples, scale: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, to six digits; a constant channel gets the deviation 1."""
    channels, *sides = samples.base.shape[1:]
    sums, squares = np.zeros(channels), np.zeros(channels)
    for chunk in _chunks(samples):
        values = chunk.astype(np.float64)
        sums += values.sum(axis=(0, 2, 3))
        squares += np.square(values).sum(axis=(0, 2, 3))
    number = len(samples) * int(np.prod(sides))
    means = sums / number
    deviations = np.sqrt(np.maximum(squares / number - np.square(means), 0))
    # What is left of a constant by rounding is no deviation.
    deviations = np.where(deviations > 1e-6 * np.abs(means), deviations * scale, 1.0)
    return _six_digits(means * scale), _six_digits(deviations)


def _six_digits(values: NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(f"{value:.6g}") for value in values)


def _chunks(samples: Samples) -> Iterator[NDArray[np.generic]]:
    for start in range(0, len(samples), CHUNK):
        yield samples.take(slice(start, start + CHUNK))


def _digest(parts: tuple[Samples, ...], classes: tuple[str, ...], preprocess: Preprocess) -> str:
    digest = hashlib.sha256(f"{codec.digest(preprocess)}{codec.digest(list(classes))}".encode())
    for samples in parts:
        digest.update(f"{len(samples)} {samples.base.shape[1:]} {samples.base.dtype}".encode())
        for chunk in _chunks(samples):
            digest.update(np.ascontiguousarray(chunk).data)
        digest.update(samples.labels.tobytes())
    return digest.hexdigest()
