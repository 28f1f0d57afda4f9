"""The techniques by the names that recipes give them."""

from collections.abc import Mapping

from torch import nn

from packager import recipe
from packager.prune import Evidence, Pruned, Stage, Technique, l1, l1_global, n_m, random_weights


def technique(method: recipe.PruneMethod) -> Technique:
    """Return what prunes by this method."""
    return TECHNIQUES[method]


def _channels(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    from packager.prune import channels  # noqa: PLC0415 - torch-pruning is loaded for this alone

    return channels.prune(module, plan, stage, evidence)


TECHNIQUES: Mapping[recipe.PruneMethod, Technique] = {
    "l1": l1.prune,
    "l1-global": l1_global.prune,
    "random": random_weights.prune,
    "2:4": n_m.prune,
    "channels": _channels,
}
