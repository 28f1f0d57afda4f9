"""Unstructured magnitude pruning: in each layer, the weights with the smallest absolute values go.

The file and the arithmetic stay as large as they were: what it brings is a smaller compressed file.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from packager import recipe
from runner.errors import StepError

LAYERS = (nn.Conv2d, nn.Linear)


def masks(module: nn.Module, plan: recipe.Prune) -> Mapping[str, Tensor]:
    """Return a mask for the weight of every convolution and linear layer. Raises StepError where there is none."""
    technique = prune.L1Unstructured(plan.amount)
    weights = {id(layer.weight) for layer in module.modules() if isinstance(layer, LAYERS)}
    # By parameter: layers may share one, and a layer's weight may be computed from others.
    chosen = {name: value.detach() for name, value in module.named_parameters() if id(value) in weights}
    if not chosen:
        raise StepError("the network has no convolution and no linear layer to prune", advice="--prune 0")
    return {
        name: technique.compute_mask(value, torch.ones_like(value))  # type: ignore[no-untyped-call]  # torch ships it so
        for name, value in chosen.items()
    }
