"""The summary of an artifact's answers, held against the answer to each sample."""

import math
from collections.abc import Iterator, Sequence

from runner.report import Accuracy, Flip, Report
from runner.verify.differences import TOLERANCE, differences

ROUNDING = 1e-6
"""Of logits of 32 bits, as a share of a difference of two of them."""


def accuracy_contradictions(path: str, accuracy: Accuracy, report: Report) -> Iterator[str]:
    """Yield each figure that is not what the answers give, and each distance that they leave no room for."""
    samples = len(report.labels)
    figures = {
        "samples": (accuracy.samples, samples),
        "top1": (accuracy.top1, share_equal(accuracy.predictions, report.labels)),
        "loss": (accuracy.loss, math.fsum(accuracy.losses) / samples),
        "agreement": (accuracy.agreement, share_equal(accuracy.predictions, report.reference_predictions)),
    }
    if accuracy.top5 is not None:
        figures["top5"] = (accuracy.top5, sum(rank < 5 for rank in accuracy.label_ranks) / samples)
    yield from differences(path, figures)
    yield from _distances(path, accuracy)
    for flip in accuracy.flips:
        if not _flip_fits(flip, accuracy, report):
            yield f"{path}.flips: sample {flip.sample}: not what its label and its prediction say"
    if len({flip.sample for flip in accuracy.flips}) < len(accuracy.flips):
        yield f"{path}.flips: one sample is listed twice"


def share_equal(left: Sequence[int], right: Sequence[int]) -> float:
    """Return the share of places at which two lists are equal."""
    return sum(a == b for a, b in zip(left, right, strict=True)) / len(left)


def _distances(path: str, accuracy: Accuracy) -> Iterator[str]:
    """Yield where distances contradict each other or the answers; most of them no record of answers can show."""
    apart, cosine, kl = accuracy.max_abs_difference, accuracy.least_cosine, accuracy.kl_nats
    if accuracy.furthest_sample is not None and not 0 <= accuracy.furthest_sample < accuracy.samples:
        yield f"{path}.furthest_sample: reported {accuracy.furthest_sample}, of {accuracy.samples} samples"
    if accuracy.identical_to_host:
        far = cosine is not None and not math.isclose(cosine, 1, rel_tol=TOLERANCE)
        if accuracy.flips or apart or kl or far:
            yield f"{path}.identical_to_host: reported true, beside flips or a difference"
    if accuracy.snr_db is None and accuracy.agreement < 1:
        yield f"{path}.snr_db: reported none, as of equal logits, beside answers that differ from the fp32 model's"
    # Each side's answer leads the other's by its margin at least: together the two logits have moved as far as that.
    least = max(((flip.host_margin + flip.device_margin) / 2 for flip in accuracy.flips), default=0.0)
    if apart < least * (1 - ROUNDING):
        yield f"{path}.max_abs_difference: reported {apart:.10g}, the margins of the flips give {least:.10g} or more"
    if cosine is not None and not -1 <= cosine <= 1:
        yield f"{path}.least_cosine: reported {cosine:.10g}, which is none"
    # Logits that move by d at most move no log probability by more than 2 d.
    if kl is not None and not 0 <= kl <= 2 * apart * (1 + ROUNDING):
        yield f"{path}.kl_nats: reported {kl:.10g}, logits that differ by {apart:.10g} give 0 to {2 * apart:.10g}"


def _flip_fits(flip: Flip, accuracy: Accuracy, report: Report) -> bool:
    answers = (report.labels[flip.sample], accuracy.predictions[flip.sample])
    return answers == (flip.label, flip.device) and flip.host != flip.device
