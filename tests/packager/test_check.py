"""An artifact that does not answer as the fp32 model does stops the pack, with its name and the figure."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from packager.check import BOUNDS, Agreement, Logits, check, compare
from runner.errors import StepError
from runner.manifest import Precision

ADVICE = "\n  try: --quantize dynamic, more --calibration-samples, or a target without this artifact"
SAMPLES, CLASSES = 100, 10


def right(samples: int = SAMPLES, classes: int = CLASSES) -> tuple[Logits, NDArray[np.int64]]:
    """Return logits of 4 for the label and 0 for the others, and the labels."""
    labels = np.arange(samples) % classes
    return np.where(np.arange(classes) == labels[:, None], 4, 0).astype(np.float32), labels


def noisy(reference: Logits, snr_db: float) -> Logits:
    """Return the reference with evenly spread noise of exactly this level, all of it on the label's logit."""
    share = 10 ** (-snr_db / 20)
    return (reference * (1 - share)).astype(np.float32)


def flipped(reference: Logits, count: int, by: float = 0.001) -> Logits:
    """Return answers of which the first `count` are others: the next class is a little above the label."""
    answers = reference.copy()
    for sample in range(count):
        best = answers[sample].argmax()
        answers[sample, (best + 1) % answers.shape[1]] = answers[sample, best] + by
    return answers


def refusal(
    answers: Logits,
    reference: Logits,
    labels: NDArray[np.int64],
    precision: Precision = "int8",
    name: str = "int8.onnx",
) -> str:
    """Return why an artifact is refused."""
    with pytest.raises(StepError) as caught:
        check(name, precision, answers, reference, labels)
    return str(caught.value)


def test_signal_to_noise_is_a_ratio_of_sums_of_squares() -> None:
    reference = np.array([[3.0, 0.0], [0.0, 4.0]], np.float32)
    answers = np.array([[3.0, 0.5], [0.0, 4.0]], np.float32)
    # 10 log10((9 + 16) / 0.25) = 20
    assert compare(answers, reference) == Agreement(snr_db=20.0, agreement=1.0)
    swapped = compare(reference[::-1], reference)
    assert (round(swapped.snr_db, 4), swapped.agreement) == (-3.0103, 0.0)


def test_equal_answers_have_no_noise() -> None:
    reference, labels = right()
    found = check("fp32.onnx", "fp32", reference.copy(), reference, labels)
    assert found == Agreement(snr_db=float("inf"), agreement=1.0)


def test_every_precision_has_bounds() -> None:
    assert set(BOUNDS) == set(get_args(Precision))


@pytest.mark.parametrize(
    ("precision", "bound_db"),
    [("fp32", 60), ("fp16", 30), ("bf16", 20), ("int8", 10), ("int8-weights", 20), ("int4-weights", 5)],
)
def test_noise_is_taken_up_to_the_bound_of_the_precision(precision: Precision, bound_db: int) -> None:
    reference, labels = right()
    found = check("a", precision, noisy(reference, bound_db + 0.1), reference, labels)
    assert found.snr_db == pytest.approx(bound_db + 0.1, abs=0.02)
    assert refusal(noisy(reference, bound_db - 0.1), reference, labels, precision, f"{precision}.onnx") == (
        f"{precision}.onnx does not answer as the fp32 model does: signal to noise {bound_db - 0.1:.1f} dB,"
        f" same answer on 100.0% of the samples; {precision} must reach {bound_db} dB{ADVICE}"
    )


def test_other_answers_are_refused_though_the_noise_is_small() -> None:
    # Every logit is nearly the same, so that a flip costs little noise.
    reference, labels = right()
    reference = (reference / 40 + 8).astype(np.float32)
    found = check("int8.onnx", "int8", flipped(reference, 50), reference, labels)
    assert found.agreement == 0.5
    answers = flipped(reference, 51)
    snr_db = compare(answers, reference).snr_db
    assert snr_db > 40
    assert refusal(answers, reference, labels) == (
        f"int8.onnx does not answer as the fp32 model does: signal to noise {snr_db:.1f} dB,"
        f" same answer on 49.0% of the samples; int8 must agree on 50%{ADVICE}"
    )


@pytest.mark.parametrize(
    ("precision", "most"),
    [("fp32", 1), ("fp16", 5), ("bf16", 10), ("int8", 50), ("int8-weights", 10), ("int4-weights", 50)],
)
def test_each_precision_has_its_share_of_other_answers(precision: Precision, most: int) -> None:
    reference, labels = right()
    reference = (reference / 4000 + 8).astype(np.float32)
    assert check("a", precision, flipped(reference, most), reference, labels).agreement == 1 - most / 100
    assert f"{precision} must agree on" in refusal(flipped(reference, most + 1), reference, labels, precision)


def test_a_model_that_has_learned_nothing_need_not_agree() -> None:
    # Random weights answer nearly alike to everything: the smallest noise turns them round.
    reference, labels = right()
    reference = (reference / 4000 + 8).astype(np.float32)
    answers = flipped(reference, 100)
    assert check("int8.onnx", "int8", answers, reference, (labels + 5) % CLASSES).agreement == 0.0
    assert "int8 must agree on 50%" in refusal(answers, reference, labels)


@pytest.mark.parametrize(("classes", "least"), [(2, 0.75), (3, 2 / 3), (4, 0.5), (10, 0.2), (100, 0.02)])
def test_to_have_learned_is_twice_chance_or_with_few_classes_halfway_to_perfect(classes: int, least: float) -> None:
    samples = 1200
    reference, labels = right(samples, classes)
    reference = (reference / 4000 + 8).astype(np.float32)
    answers, enough = flipped(reference, samples), round(samples * least)
    barely = np.where(np.arange(samples) < enough, labels, (labels + 1) % classes)
    assert "int8 must agree on 50%" in refusal(answers, reference, barely)
    hardly = np.where(np.arange(samples) < enough - 1, labels, (labels + 1) % classes)
    assert check("int8.onnx", "int8", answers, reference, hardly).agreement == 0.0


def test_of_what_was_trained_only_the_answers_are_judged_and_the_noise_is_told() -> None:
    reference, labels = right()
    moved = 10 * flipped(reference, 50)
    assert "int8 must reach 10 dB" in refusal(moved, reference, labels)
    found = check("int8.onnx", "int8", moved, reference, labels, trained=True)
    assert (found.agreement, found == compare(moved, reference)) == (0.5, True)
    assert found.snr_db < -19
    with pytest.raises(StepError, match=r"signal to noise -21\.\d dB, same answer on 49\.0%.*must agree on 50%"):
        check("int8.onnx", "int8", 10 * flipped(reference, 51), reference, labels, trained=True)


def test_random_weights_must_keep_to_the_noise() -> None:
    reference, labels = right()
    assert "int8 must reach 10 dB" in refusal(noisy(reference, 9), reference, (labels + 5) % CLASSES)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_answers_that_are_not_finite_are_counted_by_sample(bad: float) -> None:
    reference, labels = right()
    answers = reference.copy()
    answers[:3, 2:5] = bad
    expected = f"int8.onnx does not answer as the fp32 model does: 3.0% of its answers are not finite{ADVICE}"
    assert refusal(answers, reference, labels) == expected


@pytest.mark.parametrize("shape", [(SAMPLES, 9), (SAMPLES - 1, CLASSES), (SAMPLES, CLASSES, 1), (SAMPLES * CLASSES,)])
def test_answers_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    reference, labels = right()
    expected = f"answers of shape {shape} where (100, 10) is expected"
    found = refusal(np.zeros(shape, np.float32), reference, labels)
    assert found == f"int8.onnx does not answer as the fp32 model does: {expected}{ADVICE}"


def test_answers_of_nothing_but_zero_are_refused() -> None:
    reference, labels = right()
    expected = "signal to noise 0.0 dB, same answer on 10.0% of the samples; int8 must reach 10 dB"
    assert expected in refusal(np.zeros_like(reference), reference, labels)


def test_a_model_that_itself_does_not_answer_is_told_as_such() -> None:
    reference, labels = right()
    reference[:50] = np.nan
    assert refusal(reference.copy(), reference, labels) == (
        "50.0% of the fp32 model's own answers are not finite"
        "\n  try: train with a lower --learning-rate, or look into the weights"
    )
