"""Of all that was made for a target, what is worth shipping: by measurement where this host can, else by rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from packager import candidates
from packager.choosing import measured, ruled
from packager.making import Made
from packager.prepared import Prepared
from runner import device
from runner.facts import DeviceFacts
from runner.manifest import LeftOut, Target
from runner.packing import Contender
from runner.render import units


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """What goes into the bundle, and the figures of all that it was chosen from."""

    made: tuple[Made, ...]
    contenders: tuple[Contender, ...]


def choose(target: Target, prepared: Prepared, made: Sequence[Made], left_out: Sequence[LeftOut]) -> Choice:
    """Return the reference, the best of the recipe's own artifacts, and all those of its variants."""
    plan = prepared.bench.recipe.choose
    if plan is None:
        return Choice(made=tuple(made), contenders=())
    own = [each for each in made if each.name in candidates.NAMES]
    with prepared.journal.step(f"{target.name}: choose") as step:
        if runs_here(target, device.facts()):
            contenders = measured.contenders(own, plan, target, prepared)
        else:
            contenders = ruled.contenders(own, plan, target, prepared)
        kept = [each.name for each in contenders if each.kept]
        step.note = f"{', '.join(kept)}; of {units.counted(len(own), 'artifact')}"
    rows = sorted(contenders, key=lambda each: (each.cost_ns is None, each.cost_ns or 0.0))
    rows += [_failed(each) for each in left_out if each.name in candidates.NAMES]
    stays = tuple(each for each in made if each.name in kept or each.name not in candidates.NAMES)
    return Choice(made=stays, contenders=tuple(rows))


def runs_here(target: Target, facts: DeviceFacts) -> bool:
    """Say whether what this host measures of a target's code is worth something there."""
    return target.machine == facts.machine and not facts.emulated and (target.device == "cpu" or bool(facts.cuda))


def _failed(each: LeftOut) -> Contender:
    return Contender(name=each.name, size_bytes=None, top1=None, cost_ns=None, kept=False, why=f"left out: {each.what}")
