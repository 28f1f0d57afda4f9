"""What follows from the logits of one artifact, beside the labels, the host's own and the fp32 model's."""

import math

import numpy as np
from numpy.typing import NDArray

from runner.logits import Logits, answers, by_rows, identical, log_softmax, snr_db
from runner.report import Accuracy, Flip

TOP5_ABOVE_CLASSES = 10


def accuracy(
    logits: Logits, host_logits: Logits, reference_logits: Logits, labels: NDArray[np.int64], classes: int
) -> Accuracy:
    """Judge one artifact's finite logits, N x classes, by the labels, the host's own logits and the fp32 model's."""
    predictions = answers(logits)
    ranks = by_rows(label_ranks, logits, labels)
    losses = by_rows(cross_entropies, logits, labels)
    distances = by_rows(_distances, logits, host_logits)
    return Accuracy(
        samples=len(labels),
        top1=float(np.mean(predictions == labels)),
        top5=float(np.mean(ranks < 5)) if classes > TOP5_ABOVE_CLASSES else None,
        loss=math.fsum(losses) / len(losses),
        agreement=float(np.mean(predictions == answers(reference_logits))),
        snr_db=snr_db(logits, reference_logits),
        identical_to_host=identical(logits, host_logits),
        max_abs_difference=float(distances.max()),
        furthest_sample=int(distances.argmax()),
        least_cosine=least_cosine(logits, host_logits),
        kl_nats=kl_nats(logits, host_logits),
        flips=flips(logits, host_logits, labels),
        predictions=tuple(predictions.tolist()),
        label_ranks=tuple(ranks.tolist()),
        losses=tuple(losses.tolist()),
    )


def label_ranks(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many classes scored above the label, for each sample."""
    scores = logits[np.arange(len(labels)), labels]
    return np.asarray((logits > scores[:, None]).sum(axis=1), np.int64)


def cross_entropies(logits: Logits, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the cross-entropy of each sample, in nats: log-sum-exp of the logits less the label's own."""
    return np.asarray(-log_softmax(logits)[np.arange(len(labels)), labels], np.float64)


def least_cosine(logits: Logits, host_logits: Logits) -> float | None:
    """Return the least cosine of two rows of logits, or None where a row is all zeros and has no direction."""
    found = by_rows(_cosines, logits, host_logits)
    return None if np.isnan(found).any() else float(found.min())


def kl_nats(logits: Logits, host_logits: Logits) -> float:
    """Return the mean Kullback-Leibler divergence of the class probabilities from the host's, in nats.

    Sum of p log(p / q), p of the host: Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    # Rounding can leave a sum just below zero, which no divergence is.
    return max(0.0, float(by_rows(_divergences, logits, host_logits).mean()))


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
