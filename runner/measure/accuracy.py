"""What follows from the logits of one artifact: pure functions of arrays.

They may be larger than the memory: what is made of them is made of some rows at a time.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from runner.reason import Reason
from runner.report import Accuracy, Flip

Logits = NDArray[np.float32]
Scalar = TypeVar("Scalar", bound=np.generic)

TOP5_ABOVE_CLASSES = 10
BLOCK_VALUES = 1 << 17
"""Of logits at a time: a megabyte as float64."""


def accuracy(
    logits: Logits, host_logits: Logits, reference_logits: Logits, labels: NDArray[np.int64], classes: int
) -> Accuracy:
    """Judge one artifact's finite logits, N x classes, by the labels, the host's own logits and the fp32 model's."""
    predictions = answers(logits)
    ranks = _by_rows(label_ranks, logits, labels)
    losses = _by_rows(cross_entropies, logits, labels)
    distances = _by_rows(_distances, logits, host_logits)
    return Accuracy(
        samples=len(labels),
        top1=float(np.mean(predictions == labels)),
        top5=float(np.mean(ranks < 5)) if classes > TOP5_ABOVE_CLASSES else None,
        loss=math.fsum(losses) / len(losses),
        agreement=float(np.mean(predictions == answers(reference_logits))),
        snr_db=snr_db(logits, reference_logits),
        identical_to_host=_identical(logits, host_logits),
        max_abs_difference=float(distances.max()),
        furthest_sample=int(distances.argmax()),
        least_cosine=least_cosine(logits, host_logits),
        kl_nats=kl_nats(logits, host_logits),
        flips=flips(logits, host_logits, labels),
        predictions=tuple(predictions.tolist()),
        label_ranks=tuple(ranks.tolist()),
        losses=tuple(losses.tolist()),
    )


def logits_problem(logits: Logits, samples: int, classes: int) -> Reason | None:
    """Return why logits cannot be judged, if so."""
    if logits.shape != (samples, classes):
        return Reason(
            code="wrong-shape",
            level="invalid",
            detail=f"its logits have the shape {logits.shape}, and {(samples, classes)} was asked for",
            advice="pack it again",
        )
    wrong = int(_by_rows(lambda rows: (~np.isfinite(rows)).any(axis=1), logits).sum())
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
    return np.asarray(_by_rows(lambda rows: rows.argmax(axis=1), logits), np.int64)


def label_ranks(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes scored above the label, for each sample."""
    scores = logits[np.arange(len(labels)), labels]
    return np.asarray((logits > scores[:, None]).sum(axis=1), np.int64)


def cross_entropies(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cross-entropy of each sample, in nats: log-sum-exp of the logits less the label's own."""
    return np.asarray(-log_softmax(logits)[np.arange(len(labels)), labels], np.float64)


def snr_db(logits: Logits, reference: Logits) -> float | None:
    """Return the signal to noise ratio of logits against a reference, or None where they are equal bit for bit."""
    if _identical(logits, reference):
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


def least_cosine(logits: Logits, host_logits: Logits) -> float | None:
    """Return the least cosine of two rows of logits, or None where a row is all zeros and has no direction."""
    found = _by_rows(_cosines, logits, host_logits)
    return None if np.isnan(found).any() else float(found.min())


def kl_nats(logits: Logits, host_logits: Logits) -> float:
    """Return the mean Kullback-Leibler divergence of the class probabilities from the host's, in nats.

    Sum of p log(p / q), p of the host: Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    # Rounding can leave a sum just below zero, which no divergence is.
    return max(0.0, float(_by_rows(_divergences, logits, host_logits).mean()))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithms of the class probabilities, row by row."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def flips(logits: Logits, host_logits: Logits, labels: NDArray[np.int64]) -> tuple[Flip, ...]:
    """Return the samples that the host and this machine answer differently."""
    device, host = answers(logits), answers(host_logits)
    return tuple(
        Flip(
            sample=int(sample),
            label=int(labels[sample]),
            host=int(host[sample]),
            device=int(device[sample]),
            host_margin=_margin(host_logits[sample]),
            device_margin=_margin(logits[sample]),
        )
        for sample in np.flatnonzero(device != host)
    )


def _margin(row: Logits) -> float:
    ordered = np.sort(row)
    return float(ordered[-1] - ordered[-2])


def _identical(logits: Logits, other: Logits) -> bool:
    ours, theirs = (np.ascontiguousarray(each).reshape(-1).view(np.uint8) for each in (logits, other))
    step = BLOCK_VALUES * logits.itemsize
    return ours.size == theirs.size and all(
        np.array_equal(ours[start : start + step], theirs[start : start + step]) for start in range(0, ours.size, step)
    )


def _distances(logits: Logits, host_logits: Logits) -> NDArray[np.float64]:
    return np.asarray(np.abs(logits.astype(np.float64) - host_logits).max(axis=1), np.float64)


def _cosines(logits: Logits, host_logits: Logits) -> NDArray[np.float64]:
    """Return the cosine of each row and the host's; NaN where one of them is all zeros."""
    ours, theirs = logits.astype(np.float64), host_logits.astype(np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    lengths[lengths == 0] = np.nan
    return np.asarray(np.clip((ours * theirs).sum(axis=1) / lengths, -1, 1), np.float64)


def _divergences(logits: Logits, host_logits: Logits) -> NDArray[np.float64]:
    host, own = log_softmax(host_logits), log_softmax(logits)
    return np.asarray((np.exp(host) * (host - own)).sum(axis=1), np.float64)


def _by_rows(per_row: Callable[..., NDArray[Scalar]], logits: Logits, *others: NDArray[np.generic]) -> NDArray[Scalar]:
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
