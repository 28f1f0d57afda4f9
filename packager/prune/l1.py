"""Unstructured magnitude pruning: in each layer, the weights with the smallest absolute values go."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from packager import recipe
from packager.prune import Evidence, Pruned, Stage
from packager.prune.zeros import weights, zeroed


def prune(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    """Return a copy in which the smallest weights of each layer are zero. Raises StepError where it has no layer."""
    return zeroed(module, masks(module, replace(plan, amount=stage.amount)))


def masks(module: nn.Module, plan: recipe.Prune) -> Mapping[str, Tensor]:
    """Return a mask for the weight of every convolution and linear layer. Raises StepError where there is none."""
    technique = torch_prune.L1Unstructured(plan.amount)
    return {
        name: technique.compute_mask(value, torch.ones_like(value))  # type: ignore[no-untyped-call]  # torch ships it so
        for name, value in weights(module, plan).items()
    }
