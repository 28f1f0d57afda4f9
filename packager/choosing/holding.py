"""Which artifacts answer well enough to be chosen at all: by the budget, or as a device judges them."""

from collections.abc import Sequence

from packager.budget import POINTS
from packager.making import Made
from packager.prepared import Prepared
from runner.fastest import MOST_TOP1_DROP, ROUNDING
from runner.manifest import INTEGERS
from runner.render import units


def top1s(own: Sequence[Made], prepared: Prepared) -> dict[str, float]:
    """Return the top-1 of each artifact on the evaluation set, by its name."""
    baseline = prepared.evaluation.baseline
    return {each.name: baseline.drop(each.given.logits).top1 for each in own}


def refused(own: Sequence[Made], prepared: Prepared) -> dict[str, str]:
    """Return why artifacts are not to be shipped: they lose more than they may."""
    found = {each.name: _loss(each, prepared) for each in own}
    return {
        name: f"{POINTS * lost:.2f} points of top-1 lost, at most {units.counted(POINTS * most, 'point')} may be"
        for name, (lost, most) in found.items()
        if lost > most + ROUNDING
    }


def _loss(made: Made, prepared: Prepared) -> tuple[float, float]:
    """Return how much top-1 is lost, and how much may be: a budget is for integers, and counts what pruning costs."""
    baseline, budget = prepared.evaluation.baseline, prepared.bench.recipe.budget
    drop = baseline.drop(made.given.logits)
    if budget is not None and made.built.artifact.precision in INTEGERS:
        return drop.drop, budget.max_drop / POINTS
    return baseline.drop(prepared.branches[0].reference).top1 - drop.top1, MOST_TOP1_DROP
