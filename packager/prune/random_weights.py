"""Unstructured pruning at random: what every other technique has to be better than."""

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from packager import recipe
from packager.prune import Evidence, Pruned, Stage
from packager.prune.zeros import weights, zeroed


def prune(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    """Return a copy in which weights drawn at random are zero. Raises StepError where it has no layer."""
    technique = torch_prune.RandomUnstructured(stage.amount)
    # The same draw at every step: what an earlier one took is among what this one takes.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(evidence.seed)
        masks = {
            name: technique.compute_mask(value, torch.ones_like(value))  # type: ignore[no-untyped-call]  # as torch ships it
            for name, value in weights(module, plan).items()
        }
    return zeroed(module, masks)
