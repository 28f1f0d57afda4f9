"""Which artifacts answer well enough to be chosen at all: as a device judges them, by `runner.fastest`."""

from collections.abc import Mapping, Sequence

from packager.making import Made
from packager.prepared import Prepared
from runner.fastest import MOST_TOP1_DROP, ROUNDING
from runner.render import units


def top1s(own: Sequence[Made], prepared: Prepared) -> dict[str, float]:
    """Return the top-1 of each artifact on the evaluation set, by its name."""
    baseline = prepared.evaluation.baseline
    return {each.name: baseline.drop(each.given.logits).top1 for each in own}


def refused(top1: Mapping[str, float], prepared: Prepared) -> dict[str, str]:
    """Return why artifacts are not to be shipped that no device would recommend."""
    reference = prepared.evaluation.baseline.drop(prepared.branches[0].reference).top1
    return {
        name: f"{units.points(reference - found)} points of top-1 lost"
        for name, found in top1.items()
        if found < reference - MOST_TOP1_DROP - ROUNDING
    }
