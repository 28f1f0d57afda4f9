"""A network learns from another one's answers as well as from the labels."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

TEMPERATURE = 4.0
"""By which logits are divided, so that what the teacher thinks of the wrong classes is heard too."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Teacher:
    """The network to learn from, and how much of the loss its answers are, 0 to 1."""

    module: nn.Module
    weight: float


def loss(answers: Tensor, inputs: Tensor, hard: Tensor, teacher: Teacher) -> Tensor:
    """Return the loss against the labels, `hard`, mixed with the divergence from the teacher's answers to `inputs`.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2: the divergence is
    multiplied by the temperature's square, so that its gradients stay as large as those of the hard loss.
    """
    with torch.no_grad():
        wanted = functional.log_softmax(teacher.module(inputs).float() / TEMPERATURE, dim=1)
    given = functional.log_softmax(answers.float() / TEMPERATURE, dim=1)
    soft = functional.kl_div(given, wanted, reduction="batchmean", log_target=True)
    return (1 - teacher.weight) * hard + teacher.weight * TEMPERATURE**2 * soft
