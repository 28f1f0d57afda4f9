"""The stages of a network: parts that lie one behind the other, each with a share of its channels to lose."""

import itertools
from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from packager.layers import matches
from packager.prune.coupled import coupled
from packager.prune.importance import MEASURES

MOST = 6
"""More of them than this are taken together: every stage is one number more to search."""

Stage = tuple[str, ...]
"""Names of neighbouring parts of the network."""


def stages(module: nn.Module, example: Tensor, keep: Sequence[str]) -> tuple[Stage, ...]:
    """Return the stages that have channels to lose, in the order of the network; none where nothing can go."""
    # In the order of the modules: channels that run through two stages belong to the first.
    order = {name: place for place, (name, _) in enumerate(module.named_modules())}
    groups = [group.layers for group in coupled(module, example, MEASURES["l1"])]
    firsts = [min(group, key=lambda name: order[name]) for group in groups if not _kept(group, keep)]
    names = sorted(_parts(firsts), key=lambda name: order[name])
    count = min(MOST, len(names))
    bounds = [round(place * len(names) / count) for place in range(count + 1)] if names else []
    return tuple(tuple(names[low:high]) for low, high in itertools.pairwise(bounds))


def _kept(group: Iterable[str], keep: Sequence[str]) -> bool:
    return any(matches(layer, keep) for layer in group)


def _parts(layers: Sequence[str]) -> set[str]:
    """Return the outermost parts that the layers lie in, going inwards while it is one part that holds them all."""
    depth, deepest = 1, max((layer.count(".") + 1 for layer in layers), default=0)
    while depth < deepest and len(_at(layers, depth)) == 1:
        depth += 1
    return _at(layers, depth)


def _at(layers: Sequence[str], depth: int) -> set[str]:
    return {".".join(layer.split(".")[:depth]) for layer in layers}
