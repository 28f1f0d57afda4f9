"""What follows from the logits of one artifact: pure functions of arrays."""

import math

import numpy as np
from numpy.typing import NDArray

from runner.reason import Reason
from runner.report import Accuracy, Flip

Logits = NDArray[np.float32]

TOP5_ABOVE_CLASSES = 10


def accuracy(
    logits: Logits, host_logits: Logits, reference_logits: Logits, labels: NDArray[np.int64], classes: int
) -> Accuracy:
    """Judge one artifact's finite logits, N x classes, by the labels, the host's own logits and the fp32 model's."""
    predictions = logits.argmax(axis=1)
    ranks = label_ranks(logits, labels)
    losses = cross_entropies(logits, labels)
    return Accuracy(
        samples=len(labels),
        top1=float(np.mean(predictions == labels)),
        top5=float(np.mean(ranks < 5)) if classes > TOP5_ABOVE_CLASSES else None,
        loss=math.fsum(losses) / len(losses),
        agreement=float(np.mean(predictions == reference_logits.argmax(axis=1))),
        snr_db=snr_db(logits, reference_logits),
        identical_to_host=_identical(logits, host_logits),
        max_abs_difference=float(np.max(np.abs(logits.astype(np.float64) - host_logits))),
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
    wrong = int((~np.isfinite(logits)).any(axis=1).sum())
    if wrong:
        return Reason(
            code="not-finite",
            level="invalid",
            detail=f"{wrong} of {samples} answers hold a NaN or an infinity",
            advice="calibrate with more samples, or take a higher precision",
        )
    return None


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
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(logits.astype(np.float64) - reference)))
    # A reference of zeros, and 0.0 against -0.0, would give infinities, which JSON does not have.
    tiny = float(np.finfo(np.float64).tiny)
    return 10 * (math.log10(max(signal, tiny)) - math.log10(max(noise, tiny)))


def least_cosine(logits: Logits, host_logits: Logits) -> float | None:
    """Return the least cosine of two rows of logits, or None where a row is all zeros and has no direction."""
    ours, theirs = logits.astype(np.float64), host_logits.astype(np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    if not lengths.all():
        return None
    return float(np.clip((ours * theirs).sum(axis=1) / lengths, -1, 1).min())


def kl_nats(logits: Logits, host_logits: Logits) -> float:
    """Return the mean Kullback-Leibler divergence of the class probabilities from the host's, in nats.

    Sum of p log(p / q), p of the host: Kullback and Leibler, "On Information and Sufficiency" (1951).
    """
    host, own = log_softmax(host_logits), log_softmax(logits)
    # Rounding can leave a sum just below zero, which no divergence is.
    return max(0.0, float((np.exp(host) * (host - own)).sum(axis=1).mean()))


def log_softmax(logits: Logits) -> NDArray[np.float64]:
    """Return the logarithms of the class probabilities, row by row."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)), np.float64)


def flips(logits: Logits, host_logits: Logits, labels: NDArray[np.int64]) -> tuple[Flip, ...]:
    """Return the samples that the host and this machine answer differently."""
    device, host = logits.argmax(axis=1), host_logits.argmax(axis=1)
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
    return logits.tobytes() == other.tobytes()
