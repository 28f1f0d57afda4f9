"""What the unstructured techniques share: which weights may go, and the network in which they are zero.

The file and the arithmetic stay as large as they were: what zeros bring is a smaller compressed file, and with 2:4 less
arithmetic where the hardware has it.
"""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from packager import layers, recipe
from packager.prune import Pruned
from runner.errors import StepError

LAYERS = (nn.Conv2d, nn.Linear)


def weights(module: nn.Module, plan: recipe.Prune) -> dict[str, Tensor]:
    """Return parameter name -> the weight of each convolution and linear layer that the plan does not keep.

    Raises StepError where none is left.
    """
    layers.check(module, plan.keep, "prune.keep")
    of = {name: layer.weight for name, layer in module.named_modules() if isinstance(layer, LAYERS)}
    kept = {id(weight) for name, weight in of.items() if layers.matches(name, plan.keep)}
    # By parameter: layers may share one, and a layer's weight may be computed from others.
    own = {name: value for name, value in module.named_parameters() if any(value is weight for weight in of.values())}
    if not own:
        raise StepError("the network has no convolution and no linear layer to prune", advice="--prune 0")
    chosen = {name: value.detach() for name, value in own.items() if id(value) not in kept}
    if not chosen:
        raise StepError("every layer is kept, and none is left to prune", where="prune.keep", advice="fewer patterns")
    return chosen


def zeroed(module: nn.Module, masks: Mapping[str, Tensor]) -> Pruned:
    """Return a copy of the network in which the weights that have gone are zero."""
    module = copy.deepcopy(module)
    with torch.no_grad():
        for name, mask in masks.items():
            module.get_parameter(name).mul_(mask)
    return Pruned(module=module, masks=masks)
