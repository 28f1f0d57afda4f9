"""How much a channel is worth: torch-pruning's measures, by the names that recipes give them."""

import torch
import torch_pruning  # type: ignore[import-untyped]  # it ships no types
from torch import nn
from torch.nn import functional

from packager import recipe
from packager.prune import Batches
from packager.prune.coupled import Score
from runner.errors import StepError

MEASURES: dict[recipe.Importance, Score] = {
    "l1": torch_pruning.importance.MagnitudeImportance(p=1),
    "l2": torch_pruning.importance.MagnitudeImportance(p=2),
    "batch-norm": torch_pruning.importance.BNScaleImportance(),
    "taylor": torch_pruning.importance.TaylorImportance(),
    "random": torch_pruning.importance.RandomImportance(),
}
"""Each the mean over the layers that a channel runs through, and then relative to the mean of its group."""


def score(importance: recipe.Importance, module: nn.Module, batches: Batches) -> Score:
    """Return the measure; for `taylor` the gradients that it needs are left in the network.

    Raises StepError where the network has no batch norm and its scales are asked for.
    """
    if importance == "batch-norm":
        _check_batch_norm(module)
    if importance == "taylor":
        _accumulate_gradients(module, batches)
    return MEASURES[importance]


def _check_batch_norm(module: nn.Module) -> None:
    if not any(isinstance(layer, nn.BatchNorm2d) and layer.affine for layer in module.modules()):
        raise StepError(
            "the network has no batch norm by whose scale its channels could be ranked",
            where="prune.importance",
            advice='`importance = "l1"` in the recipe\'s [prune]',
        )


def _accumulate_gradients(module: nn.Module, batches: Batches) -> None:
    """Leave in the network the gradients of its loss on the samples, in eval mode: statistics stay as they are."""
    module.eval().requires_grad_().zero_grad()
    with torch.enable_grad():
        for samples, labels in batches():
            loss = functional.cross_entropy(module(samples), labels, reduction="sum")
            torch.autograd.backward(loss)
