"""The stages of a network: parts that lie one behind the other, each with a share of its channels to lose."""

import copy
import itertools
from collections.abc import Sequence

from torch import Tensor, nn

from packager.layers import matches
from packager.prune.coupled import Coupled, coupled
from packager.prune.cuts import cuts
from packager.prune.importance import MEASURES
from packager.recipe import Prune

MOST = 6
"""More of them than this are taken together: every stage is one number more to search."""

Stage = tuple[str, ...]
"""Names of neighbouring parts of the network."""


def stages(module: nn.Module, example: Tensor, plan: Prune) -> tuple[Stage, ...]:
    """Return the stages that have channels to lose, in the order of the network; none where nothing can go."""
    module = copy.deepcopy(module).eval()
    # In the order of the modules: channels that run through two stages belong to the first.
    order = {name: place for place, (name, _) in enumerate(module.named_modules())}
    groups = [group for group in coupled(module, example, MEASURES["l1"]) if _can_lose(group, plan)]
    firsts = [min(group.layers, key=lambda name: order[name]) for group in groups]
    names = sorted(_parts(firsts), key=lambda name: order[name])
    count = min(MOST, len(names))
    bounds = [round(place * len(names) / count) for place in range(count + 1)] if names else []
    return tuple(tuple(names[low:high]) for low, high in itertools.pairwise(bounds))


def _can_lose(group: Coupled, plan: Prune) -> bool:
    kept = any(matches(layer, plan.keep) for layer in group.layers)
    return not kept and bool(cuts(group, plan.round_to))


def _parts(layers: Sequence[str]) -> set[str]:
    """Return the outermost parts that the layers lie in, going inwards while it is one part that holds them all."""
    depth, deepest = 1, max((layer.count(".") + 1 for layer in layers), default=0)
    while depth < deepest and len(_at(layers, depth)) == 1:
        depth += 1
    return _at(layers, depth)


def _at(layers: Sequence[str], depth: int) -> set[str]:
    return {".".join(layer.split(".")[:depth]) for layer in layers}
