import numpy as np
import pytest
from numpy.typing import NDArray

from runner import logits as module
from runner.logits import identical, logits_problem

Logits = NDArray[np.float32]

REFERENCE: Logits = np.array([[4, 1, 0], [0, 3, 1], [1, 0, 2], [3, 1, 0]], np.float32)


@pytest.mark.parametrize("place", [(0, 0), (999, 6), (500, 3)])
def test_one_value_in_any_block_is_seen(place: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_VALUES", 1 << 10)
    logits = np.random.default_rng(0).normal(0, 3, (1000, 7)).astype(np.float32)
    logits[place] = 0.0
    other = logits.copy()
    assert identical(logits, other)
    other[place] = -0.0
    assert not identical(logits, other)
    other[place] = np.nan
    reason = logits_problem(other, 1000, 7)
    assert reason is not None
    assert reason.detail == "1 of 1000 answers hold a NaN or an infinity"


def test_logits_of_another_shape_are_a_reason_and_no_crash() -> None:
    reason = logits_problem(REFERENCE, 4, 10)
    assert reason is not None
    assert (reason.code, reason.level) == ("wrong-shape", "invalid")
    assert reason.detail == "its logits have the shape (4, 3), and (4, 10) was asked for"


def test_answers_that_are_not_finite_are_counted() -> None:
    broken = REFERENCE.copy()
    broken[1, 0] = np.nan
    broken[3] = np.inf
    reason = logits_problem(broken, 4, 3)
    assert reason is not None
    assert (reason.code, reason.level) == ("not-finite", "invalid")
    assert reason.detail == "2 of 4 answers hold a NaN or an infinity"
    assert logits_problem(REFERENCE, 4, 3) is None
