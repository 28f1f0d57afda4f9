"""Unstructured magnitude pruning in one ranking: the smallest weights of the whole network go, wherever they are."""

import json

import torch
from torch import nn
from torch.nn.utils import prune as torch_prune

from packager import recipe
from packager.prune import Evidence, Pruned, Stage
from packager.prune.zeros import weights, zeroed
from runner.errors import StepError


def prune(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    """Return a copy in which the smallest weights are zero. Raises StepError naming layers that would be left empty."""
    chosen = weights(module, plan)
    row = torch.cat([value.flatten() for value in chosen.values()])
    technique = torch_prune.L1Unstructured(stage.amount)
    mask = technique.compute_mask(row, torch.ones_like(row))  # type: ignore[no-untyped-call]  # torch ships it so
    parts = mask.split([value.numel() for value in chosen.values()])
    masks = {name: part.view_as(value) for (name, value), part in zip(chosen.items(), parts, strict=True)}
    empty = [name.removesuffix(".weight") for name, mask in masks.items() if not mask.any()]
    if empty:
        raise StepError(
            f"pruning {stage.amount:.0%} of all weights leaves none in {', '.join(empty)}",
            where="prune.amount",
            advice=f'a smaller amount, `method = "l1"`, or `keep = {json.dumps(empty)}` in the recipe\'s [prune]',
        )
    return zeroed(module, masks)
