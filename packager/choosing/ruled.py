"""The choice where the host cannot time what is for another machine: by rule, and the device decides."""

from collections.abc import Sequence

from packager.candidates import REFERENCE
from packager.choosing.front import Rank
from packager.making import Made
from packager.recipe import Choose
from runner.manifest import Precision
from runner.packing import Contender

BITS: dict[Precision, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int8-weights": 9, "int4-weights": 10}
"""By what artifacts of one runtime are ordered: whole integers before weights alone."""


def contenders(own: Sequence[Made], plan: Choose) -> list[Contender]:
    """Keep of each runtime the first that the target lists with the fewest bits, and of these the first so many."""
    best = dict[str, Made]()
    for each in own:
        kind = each.built.artifact.format
        if kind not in best or _bits(each) < _bits(best[kind]):
            best[kind] = each
    firsts = [each.name for each in best.values() if each.name != REFERENCE.name]
    return [_contender(each, _rank(each.name, firsts, plan.keep)) for each in own]


def _rank(name: str, firsts: Sequence[str], keep: int) -> Rank:
    if name == REFERENCE.name:
        return Rank(kept=True, why="the reference")
    if name not in firsts:
        return Rank(kept=False, why="its runtime has another with fewer bits, or listed before it")
    if firsts.index(name) >= keep:
        return Rank(kept=False, why=f"the target lists it after the {keep} that are kept")
    return Rank(kept=True, why="one of its runtime, by rule: this host cannot time it, and the device decides")


def _contender(made: Made, rank: Rank) -> Contender:
    return Contender(name=made.name, size_bytes=made.size_bytes, top1=None, cost_ns=None, kept=rank.kept, why=rank.why)


def _bits(made: Made) -> int:
    return BITS[made.built.artifact.precision]
