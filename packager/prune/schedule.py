"""How the amount of pruning grows over several steps."""

import itertools

from packager import recipe
from packager.prune import Stage

TWO_OF_FOUR = 0.5


def stages(plan: recipe.Prune) -> tuple[Stage, ...]:
    """Return the steps of a plan: what is gone before and after each, as shares of the unpruned network.

    Cubic as Zhu and Gupta 2017 (arXiv:1710.01878, equation 1): most goes while there is most to spare. One-shot has one
    step whatever `steps` says, and so has 2:4, which knows no other amount.
    """
    if plan.method == "2:4":
        return (Stage(before=0.0, amount=TWO_OF_FOUR),)
    steps = 1 if plan.schedule == "one-shot" else plan.steps
    gone = [_gone(plan, step, steps) for step in range(steps + 1)]
    return tuple(Stage(before=before, amount=after) for before, after in itertools.pairwise(gone))


def _gone(plan: recipe.Prune, step: int, steps: int) -> float:
    if step == steps:
        return plan.amount  # to the bit
    if plan.schedule == "cubic":
        return plan.amount * (1 - (1 - step / steps) ** 3)
    return plan.amount * step / steps
