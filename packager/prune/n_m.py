"""2:4 sparsity: of every four weights along the input channels the two smallest go, as NVIDIA's tensor cores have it.

Groups as in NVIDIA's own ASP (apex/contrib/sparsity/sparse_masklib.py, `create_mask`): K x C x R x S is read as rows of
C, so that the four are neighbouring input channels at one place of the kernel.
"""

import torch
from torch import Tensor, nn

from packager import recipe
from packager.prune import Evidence, Pruned, Stage
from packager.prune.zeros import weights, zeroed
from runner.errors import StepError

GROUP, GO = 4, 2


def prune(module: nn.Module, plan: recipe.Prune, stage: Stage, evidence: Evidence) -> Pruned:
    """Return a copy in which two of every four weights are zero; layers whose input is no multiple of four are left.

    Raises StepError where no layer qualifies.
    """
    chosen = weights(module, plan)
    masks = {name: _mask(value) for name, value in chosen.items() if value.shape[1] % GROUP == 0}
    if not masks:
        widths = ", ".join(f"{name.removesuffix('.weight')} {value.shape[1]}" for name, value in chosen.items())
        raise StepError(
            f"2:4 takes layers whose input channels are a multiple of four, and there is none: {widths}",
            where="prune.method",
            advice='`method = "l1"` or `method = "channels"` in the recipe\'s [prune]',
        )
    return zeroed(module, masks)


def _mask(weight: Tensor) -> Tensor:
    rows = weight.movedim(1, -1)  # input channels last
    fours = rows.abs().reshape(-1, GROUP)
    smallest = fours.argsort(dim=1, stable=True)[:, :GO]
    mask = torch.ones_like(fours).scatter(1, smallest, 0)
    return mask.view_as(rows).movedim(-1, 1).contiguous()
