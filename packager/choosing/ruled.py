"""The choice where the host cannot time what is for another machine: by rule, and the device decides."""

from collections.abc import Sequence

from packager.candidates import REFERENCE
from packager.choosing import holding
from packager.choosing.front import Rank
from packager.making import Made
from packager.prepared import Prepared
from packager.recipe import Choose
from runner.loading.ranking import RUNTIMES
from runner.manifest import Format, Precision, Target
from runner.packing import Contender

BITS: dict[Precision, int] = {"fp32": 32, "fp16": 16, "bf16": 16, "int8": 8, "int8-weights": 9, "int4-weights": 10}
"""By what artifacts of one runtime are ordered: whole integers before weights alone."""


def contenders(own: Sequence[Made], plan: Choose, target: Target, prepared: Prepared) -> list[Contender]:
    """Keep of each runtime what has the fewest bits and answers that hold, those first that are known as fast there."""
    top1 = holding.top1s(own, prepared)
    ranks = {name: Rank(kept=False, why=why) for name, why in holding.refused(own, prepared).items()}
    best = dict[Format, Made]()
    for each in own:
        kind = each.built.artifact.format
        if each.name not in ranks and (kind not in best or _bits(each) < _bits(best[kind])):
            best[kind] = each
    known = RUNTIMES.get(target.machine, ())
    kinds = sorted(best, key=lambda kind: known.index(kind) if kind in known else len(known))
    firsts = [best[kind].name for kind in kinds if best[kind].name != REFERENCE.name]
    ranks = {each.name: _rank(each.name, firsts, plan.keep) for each in own} | ranks
    return [_contender(each, top1[each.name], ranks[each.name]) for each in own]


def _rank(name: str, firsts: Sequence[str], keep: int) -> Rank:
    if name == REFERENCE.name:
        return Rank(kept=True, why="the reference")
    if name not in firsts:
        return Rank(kept=False, why="its runtime has another with fewer bits, or listed before it")
    if firsts.index(name) >= keep:
        return Rank(kept=False, why=f"the {keep} that are kept are of runtimes known as faster there")
    return Rank(kept=True, why="one of its runtime, by rule: this host cannot time it, and the device decides")


def _contender(made: Made, top1: float, rank: Rank) -> Contender:
    kept = rank.kept or made.name == REFERENCE.name
    return Contender(name=made.name, size_bytes=made.size_bytes, top1=top1, cost_ns=None, kept=kept, why=rank.why)


def _bits(made: Made) -> int:
    return BITS[made.built.artifact.precision]
