"""What goes from a network. A technique is one file; what it leaves is trained further.

A technique either sets weights to zero, and says which, so that training keeps them there; or it takes channels out.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor, nn

from packager import recipe

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Evidence:
    """What a technique may look at beside the weights."""

    example: Tensor
    """One sample as the network sees it."""
    batches: Batches
    """Labelled calibration samples, prepared: float32 N x C x H x W, and int64 N."""
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """One step of a schedule: shares of what the unpruned network had."""

    before: float
    """Gone already."""
    amount: float
    """Gone after this step."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Pruned:
    """A network after a step."""

    module: nn.Module
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameter name -> mask of the parameter's shape: 0 where a weight has gone, 1 where it stays."""


class Technique(Protocol):
    """Chooses what goes."""

    def __call__(self, module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
        """Return a pruned copy of the network. Raises StepError, naming the layers where there are some to name."""
