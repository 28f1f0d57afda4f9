"""Which weights go. A technique is one file with `masks(module, plan)`; what a technique leaves is trained further."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor, nn

from packager import recipe
from packager.prune import l1


class Technique(Protocol):
    """Chooses the weights to set to zero."""

    def __call__(self, module: nn.Module, plan: recipe.Prune) -> Mapping[str, Tensor]:
        """Return parameter name -> mask of the parameter's shape: 0 where a weight goes, 1 where it stays."""


TECHNIQUES: Mapping[recipe.PruneMethod, Technique] = {"l1": l1.masks}
