"""What logits say, and how far some lie from others: pure functions of arrays, for measuring and for using alike.

They may be larger than the memory: what is made of them is made of some rows at a time.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runner.reason import Reason

Logits = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

BLOCK_VALUES = 1 << 17
"""Of logits at a time: a megabyte as float64."""


def logits_problem(logits: Logits, samples: int, classes: int) -> Reason | None:
    """Return why logits cannot be judged, if so."""
    if logits.shape != (samples, classes):
        return Reason(
            code="wrong-shape",
            level="invalid",
            detail=f"its logits have the shape {logits.shape}, and {(samples, classes)} was asked for",
            advice="pack it again",
        )
    wrong = int(by_rows(lambda rows: (~np.isfinite(rows)).any(axis=1), logits).sum())
    if wrong:
        return Reason(
            code="not-finite",
            level="invalid",
            detail=f"{wrong} of {samples} answers hold a NaN or an infinity",
            advice="calibrate with more samples, or take a higher precision",
        )
    return None


def answers(logits: Logits) -> NDArray[np.int64]:
    """Return the class that scored highest, for each sample."""
    return np.asarray(by_rows(lambda rows: rows.argmax(axis=1), logits), np.int64)


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithms of the class probabilities, row by row."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def snr_db(logits: Logits, reference: Logits) -> float | None:
    """Return the signal to noise ratio of logits against a reference, or None where they are equal bit for bit."""
    if identical(logits, reference):
        return None
    ours, theirs = logits.reshape(-1), reference.reshape(-1)

    def signal_of(part: slice) -> float:
        return float(np.sum(np.square(theirs[part], dtype=np.float64)))

    def noise_of(part: slice) -> float:
        return float(np.sum(np.square(ours[part].astype(np.float64) - theirs[part])))

    # A reference of zeros, and 0.0 against -0.0, would give infinities, which JSON does not have.
    tiny = float(np.finfo(np.float64).tiny)
    signal, noise = (max(_pairwise(each, 0, ours.size), tiny) for each in (signal_of, noise_of))
    return 10 * (math.log10(signal) - math.log10(noise))


def identical(logits: Logits, other: Logits) -> bool:
    """Say whether logits are equal bit for bit."""
    ours, theirs = (np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (logits, other))
    step = BLOCK_VALUES * logits.itemsize
    return ours.size == theirs.size and all(
        np.array_equal(ours[start : start + step], theirs[start : start + step]) for start in range(0, ours.size, step)
    )


def by_rows(per_row: Callable[..., NDArray[Scalar]], logits: Logits, *others: NDArray[np.generic]) -> NDArray[Scalar]:
    """Return what a function gives for each row of arrays of equal length, some rows at a time."""
    step = max(1, BLOCK_VALUES // max(1, logits.shape[1]))
    parts = [slice(start, start + step) for start in range(0, len(logits), step)]
    return np.concatenate([per_row(logits[part], *(other[part] for other in others)) for part in parts])


def _pairwise(part: Callable[[slice], float], start: int, end: int) -> float:
    """Add up what `part` gives from `start` to `end` by halves, as numpy does with a whole array: to the same bits."""
    if end - start <= BLOCK_VALUES:
        return part(slice(start, end))
    half = (end - start) // 2
    middle = start + half - half % 8
    return _pairwise(part, start, middle) + _pairwise(part, middle, end)
