"""The loss of a network that learns from another: the exact formula, on numbers that can be checked by hand."""

import math

import pytest
import torch
from torch import Tensor, nn

from packager import distillation
from packager.distillation import TEMPERATURE, Teacher


class Saying(nn.Module):
    """Answers each input with the same logits, and remembers whether a gradient was asked of it."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits."""
        assert len(inputs) == len(self.logits)
        return self.logits


def by_hand(student: list[list[float]], teacher: list[list[float]]) -> float:
    """Return the divergence of softened answers, times the temperature's square, in plain Python."""

    def softened(row: list[float]) -> list[float]:
        powers = [math.exp(value / 4) for value in row]
        return [power / sum(powers) for power in powers]

    total = 0.0
    for ours, theirs in zip(student, teacher, strict=True):
        total += sum(t * math.log(t / s) for s, t in zip(softened(ours), softened(theirs), strict=True))
    return 16 * total / len(student)


STUDENT = [[1.0, 2.0, 3.0], [0.0, 0.0, 8.0]]
TEACHER = [[2.0, 0.0, 4.0], [4.0, -4.0, 0.0]]
IMAGES = torch.zeros(2, 1)


def loss(weight: float, hard: float = 2.5, student: list[list[float]] = STUDENT) -> float:
    """Return the mixed loss."""
    teacher = Teacher(module=Saying(TEACHER), weight=weight)
    return distillation.loss(torch.tensor(student), IMAGES, torch.tensor(hard), teacher).item()


def test_the_temperature_is_the_one_of_the_paper_that_the_tests_compute_with() -> None:
    assert TEMPERATURE == 4.0


@pytest.mark.parametrize("weight", [0.25, 0.5, 0.9, 1.0])
def test_the_loss_is_the_labels_share_and_the_teachers_share(weight: float) -> None:
    assert loss(weight) == pytest.approx((1 - weight) * 2.5 + weight * by_hand(STUDENT, TEACHER), rel=1e-5)


def test_two_classes_can_be_reckoned_on_paper() -> None:
    # Logits 4 ln 3 and 0 soften to 3/4 and 1/4; two equal ones to 1/2 and 1/2.
    teacher = Teacher(module=Saying([[4 * math.log(3), 0.0]]), weight=1.0)
    found = distillation.loss(torch.zeros(1, 2), IMAGES[:1], torch.tensor(9.0), teacher).item()
    assert found == pytest.approx(16 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5)), rel=1e-5)


def test_whoever_answers_as_the_teacher_has_only_the_labels_to_learn_from() -> None:
    assert loss(0.5, student=TEACHER) == pytest.approx(0.5 * 2.5, abs=1e-6)
    shifted = [[value + 3 for value in row] for row in TEACHER]
    assert loss(1.0, student=shifted) == pytest.approx(0.0, abs=1e-6)


def test_the_network_is_drawn_to_the_teacher_and_the_teacher_stays_where_it_is() -> None:
    teacher = Saying(TEACHER)
    student = nn.Parameter(torch.tensor(STUDENT))
    found = distillation.loss(student, IMAGES, torch.tensor(0.0), Teacher(module=teacher, weight=1.0))
    found.backward()  # type: ignore[no-untyped-call]  # torch ships it so
    assert teacher.logits.grad is None
    assert student.grad is not None
    # The gradient of a softened divergence: T / N times the difference of the softened answers.
    wanted = 4 / 2 * (torch.softmax(student / 4, 1) - torch.softmax(teacher.logits / 4, 1))
    torch.testing.assert_close(student.grad, wanted.detach())


def test_answers_in_half_precision_are_compared_in_full() -> None:
    teacher = Teacher(module=Saying(TEACHER), weight=1.0)
    found = distillation.loss(torch.tensor(STUDENT).bfloat16(), IMAGES, torch.tensor(0.0), teacher)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(by_hand(STUDENT, TEACHER), rel=1e-5)  # these are exact in bfloat16
