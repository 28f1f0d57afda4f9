"""What a network was before its first cut: the steps of a schedule count shares of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from packager.counting import count
from packager.prune import Stage
from packager.prune.coupled import Coupled

_ATTRIBUTE = "_edgepack_unpruned"


@dataclass(frozen=True, kw_only=True, slots=True)
class Unpruned:
    """The sizes of a network with all its channels."""

    widths: Mapping[str, float]
    """Layer -> output channels, for the first layer of each coupled group."""
    parameters: float
    macs: float


def unpruned(module: nn.Module, groups: Sequence[Coupled], example: Tensor, stage: Stage) -> Unpruned:
    """Return what the network was: it carries this between the steps, because rounding makes it untold by the shares.

    A network that has lost channels elsewhere is taken to have lost the same share of everything.
    """
    carried = getattr(module, _ATTRIBUTE, None)
    if stage.before and isinstance(carried, Unpruned):
        return carried
    left, now = 1 - stage.before, count(module, example)
    return Unpruned(
        widths={group.layers[0]: group.width / left for group in groups},
        parameters=now.parameters / left,
        macs=now.macs / left,
    )


def carry(module: nn.Module, whole: Unpruned, *, to_next: bool) -> None:
    """Let the network carry what it was to the next step; after the last it carries nothing."""
    if to_next:
        setattr(module, _ATTRIBUTE, whole)
    elif hasattr(module, _ATTRIBUTE):
        delattr(module, _ATTRIBUTE)
