"""No artifact is bundled before the runner has executed it and its answers have held against the fp32 model's."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runner.errors import StepError
from runner.logits import snr_db
from runner.manifest import Precision

Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """What an artifact of a precision must reach, or it is broken rather than less precise."""

    snr_db: float
    agreement: float
    """Share of equal answers. Asked only where the fp32 model itself does better than chance."""


BOUNDS: dict[Precision, Bounds] = {
    "fp32": Bounds(snr_db=60.0, agreement=0.99),
    "fp16": Bounds(snr_db=30.0, agreement=0.95),
    "bf16": Bounds(snr_db=20.0, agreement=0.9),
    "int8": Bounds(snr_db=10.0, agreement=0.5),
    "int8-weights": Bounds(snr_db=20.0, agreement=0.9),
    "int4-weights": Bounds(snr_db=5.0, agreement=0.5),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How near an artifact's answers are to those of the fp32 model."""

    snr_db: float
    agreement: float


def compare(answers: Logits, reference: Logits) -> Agreement:
    """Return signal to noise, infinite where no bit differs, and the share of equal answers."""
    found = snr_db(answers, reference)
    agreement = float(np.mean(answers.argmax(1) == reference.argmax(1)))
    return Agreement(snr_db=math.inf if found is None else found, agreement=agreement)


def check(
    name: str,
    precision: Precision,
    answers: Logits,
    reference: Logits,
    labels: NDArray[np.int64],
    *,
    trained: bool = False,
) -> Agreement:
    """Return how near the answers are, or raise StepError with the artifact and the figure that says it is broken.

    An artifact that was `trained` on its way moves its logits on purpose: of those, only the answers are judged.
    """
    if not np.isfinite(reference).all():
        what = f"{_not_finite(reference):.1%} of the fp32 model's own answers are not finite"
        raise StepError(what, advice="train with a lower --learning-rate, or look into the weights")
    if answers.shape != reference.shape:
        raise _broken(name, f"answers of shape {answers.shape} where {reference.shape} is expected")
    if not np.isfinite(answers).all():
        raise _broken(name, f"{_not_finite(answers):.1%} of its answers are not finite")
    found, bounds = compare(answers, reference), BOUNDS[precision]
    figures = f"signal to noise {found.snr_db:.1f} dB, same answer on {found.agreement:.1%} of the samples"
    if not trained and found.snr_db < bounds.snr_db:
        raise _broken(name, f"{figures}; {precision} must reach {bounds.snr_db:.0f} dB")
    if _learned(reference, labels) and found.agreement < bounds.agreement:
        raise _broken(name, f"{figures}; {precision} must agree on {bounds.agreement:.0%}")
    return found


def _learned(reference: Logits, labels: NDArray[np.int64]) -> bool:
    """Tell whether the model does clearly better than chance: twice as well, or with few classes halfway to perfect."""
    chance = 1 / reference.shape[1]
    return bool(np.mean(reference.argmax(1) == labels) >= min(2 * chance, (1 + chance) / 2))


def _not_finite(logits: Logits) -> float:
    return float(1 - np.isfinite(logits).all(1).mean())


def _broken(name: str, figures: str) -> StepError:
    return StepError(
        f"{name} does not answer as the fp32 model does: {figures}",
        advice="--quantize dynamic, more --calibration-samples, or a target without this artifact",
    )
