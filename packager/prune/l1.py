"""Unstructured magnitude pruning: in each layer, the weights with the smallest absolute values go.

The file and the arithmetic stay as large as they were: what it brings is a smaller compressed file.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from packager import recipe

LAYERS = (nn.Conv2d, nn.Linear)


def masks(module: nn.Module, plan: recipe.Prune) -> Mapping[str, Tensor]:
    """Return a mask for the weight of every convolution and linear layer."""
    technique = prune.L1Unstructured(plan.amount)
    return {
        f"{name}.weight": technique.compute_mask(layer.weight, torch.ones_like(layer.weight))  # type: ignore[no-untyped-call]  # torch ships it so
        for name, layer in module.named_modules()
        if isinstance(layer, LAYERS)
    }
