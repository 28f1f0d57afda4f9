import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import distance

from runner import logits as module
from runner.measure.accuracy import accuracy
from runner.report import Flip

Logits = NDArray[np.float32]

LABELS = np.array([0, 1, 2, 1])
REFERENCE: Logits = np.array([[4, 1, 0], [0, 3, 1], [1, 0, 2], [3, 1, 0]], np.float32)


def test_answers_equal_to_the_hosts_have_no_noise_and_no_flips() -> None:
    found = accuracy(REFERENCE, REFERENCE, REFERENCE, LABELS, 3)
    assert (found.samples, found.top1, found.agreement) == (4, 0.75, 1.0)
    assert (found.predictions, found.label_ranks) == ((0, 1, 2, 0), (0, 0, 0, 1))
    assert (found.snr_db, found.identical_to_host, found.max_abs_difference, found.flips) == (None, True, 0.0, ())


def test_the_loss_is_the_mean_cross_entropy_in_nats() -> None:
    logits = np.array([[0, 0], [0, math.log(3)]], np.float32)
    found = accuracy(logits, logits, logits, np.array([0, 0]), 2)
    assert found.losses == pytest.approx((math.log(2), math.log(4)), rel=1e-6)
    assert found.loss == pytest.approx((math.log(2) + math.log(4)) / 2, rel=1e-6)


def test_logits_that_would_overflow_the_exponential_have_a_finite_loss() -> None:
    logits = np.array([[1e4, 0]], np.float32)
    assert accuracy(logits, logits, logits, np.array([1]), 2).losses == (1e4,)


def test_a_flip_is_listed_with_both_margins() -> None:
    changed = REFERENCE.copy()
    changed[2] = [2.5, 0, 2]
    found = accuracy(changed, REFERENCE, REFERENCE, LABELS, 3)
    assert found.flips == (Flip(sample=2, label=2, host=2, device=0, host_margin=1.0, device_margin=0.5),)
    assert (found.agreement, found.identical_to_host, found.max_abs_difference) == (0.75, False, 1.5)
    assert found.furthest_sample == 2


def test_signal_to_noise_is_that_of_the_logits_against_the_fp32_model() -> None:
    noisy = REFERENCE + np.float32(0.5)
    signal = 16 + 1 + 9 + 1 + 1 + 4 + 9 + 1
    found = accuracy(noisy, noisy, REFERENCE, LABELS, 3)
    assert found.snr_db == pytest.approx(10 * math.log10(signal / (12 * 0.25)))
    assert found.identical_to_host


def test_outputs_have_a_distance_in_angle_and_in_probabilities() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        shape = (rng.integers(1, 6), rng.integers(2, 8))
        host, device = (rng.normal(0, 3, shape).astype(np.float32) for _ in range(2))
        found = accuracy(device, host, host, np.zeros(shape[0], np.int64), int(shape[1]))
        cosines = [
            1 - distance.cosine(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(host, device, strict=True)
        ]
        assert found.least_cosine == pytest.approx(min(cosines), abs=1e-12)
        p, q = (special.softmax(logits.astype(np.float64), axis=1) for logits in (host, device))
        assert found.kl_nats == pytest.approx(float(special.rel_entr(p, q).sum(axis=1).mean()), abs=1e-12)


def test_equal_outputs_have_no_distance_and_zeros_have_no_direction() -> None:
    found = accuracy(REFERENCE, REFERENCE, REFERENCE, LABELS, 3)
    assert found.least_cosine == pytest.approx(1.0)
    assert found.kl_nats == 0.0
    zeros = np.zeros_like(REFERENCE)
    assert accuracy(zeros, REFERENCE, REFERENCE, LABELS, 3).least_cosine is None
    far = np.array([[1e4, 0, 0]] * 4, np.float32)
    assert accuracy(-far, far, far, LABELS, 3).kl_nats == pytest.approx(1e4, rel=1e-3)


def test_a_reference_of_zeros_still_gives_a_number_that_json_can_hold() -> None:
    zeros = np.zeros_like(REFERENCE)
    found = accuracy(REFERENCE, REFERENCE, zeros, LABELS, 3)
    assert found.snr_db is not None
    assert -4000 < found.snr_db < -3000


def whole(logits: Logits, host: Logits, reference: Logits, labels: NDArray[np.int64]) -> dict[str, object]:
    """Return the figures by formulas of whole arrays."""

    def log_softmax(rows: Logits) -> NDArray[np.float64]:
        shifted = rows.astype(np.float64) - rows.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))

    every = np.arange(len(labels))
    signal = float(np.sum(np.square(reference, dtype=np.float64)))
    noise = float(np.sum(np.square(logits.astype(np.float64) - reference)))
    ours, theirs = logits.astype(np.float64), host.astype(np.float64)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    p, q = log_softmax(host), log_softmax(logits)
    return {
        "predictions": tuple(logits.argmax(axis=1).tolist()),
        "label_ranks": tuple((logits > logits[every, labels][:, None]).sum(axis=1).tolist()),
        "losses": tuple((-log_softmax(logits)[every, labels]).tolist()),
        "agreement": float(np.mean(logits.argmax(axis=1) == reference.argmax(axis=1))),
        "snr_db": 10 * (math.log10(signal) - math.log10(noise)),
        "max_abs_difference": float(np.abs(ours - theirs).max()),
        "furthest_sample": int(np.abs(ours - theirs).max(axis=1).argmax()),
        "least_cosine": float(((ours * theirs).sum(axis=1) / lengths).min()),
        "kl_nats": float((np.exp(p) * (p - q)).sum(axis=1).mean()),
    }


@pytest.mark.parametrize(("samples", "classes"), [(1, 4097), (3, 1500), (257, 10), (1000, 7), (4099, 2), (64, 1000)])
def test_some_rows_at_a_time_give_the_bits_of_the_whole(
    samples: int, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 10)
    rng = np.random.default_rng(samples)
    reference = rng.normal(0, 3, (samples, classes)).astype(np.float32)
    host = reference + rng.normal(0, 0.1, reference.shape).astype(np.float32)
    logits = host + rng.normal(0, 0.5, reference.shape).astype(np.float32)
    labels = rng.integers(0, classes, samples)
    found = accuracy(logits, host, reference, labels, classes)
    expected = whole(logits, host, reference, labels)
    assert {name: getattr(found, name) for name in expected} == expected
    flipped = logits.argmax(axis=1) != host.argmax(axis=1)
    assert [flip.sample for flip in found.flips] == np.flatnonzero(flipped).tolist()


@pytest.mark.parametrize("place", [(0, 0), (999, 6), (500, 3)])
def test_one_bit_in_any_block_makes_logits_another(place: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 10)
    logits = np.random.default_rng(0).normal(0, 3, (1000, 7)).astype(np.float32)
    labels = np.zeros(1000, np.int64)
    logits[place] = 0.0
    assert accuracy(logits, logits.copy(), logits, labels, 7).identical_to_host
    other = logits.copy()
    other[place] = -0.0
    found = accuracy(logits, other, logits, labels, 7)
    assert (found.identical_to_host, found.max_abs_difference) == (False, 0.0)


def test_top5_is_given_only_with_more_than_ten_classes() -> None:
    ten = np.tile(np.arange(10, dtype=np.float32), (2, 1))
    eleven = np.tile(np.arange(11, dtype=np.float32), (2, 1))
    assert accuracy(ten, ten, ten, np.array([9, 0]), 10).top5 is None
    found = accuracy(eleven, eleven, eleven, np.array([6, 5]), 11)
    assert (found.top5, found.label_ranks) == (0.5, (4, 5))
