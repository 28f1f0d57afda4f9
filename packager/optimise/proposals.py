"""What is tried next: ways to divide a network between int8 and fp32, the most promising by the evidence first."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from packager.optimise.evidence import Evidence
from packager.optimise.units import Division, Unit, blocks, divided, kinds, products
from packager.recipe import Assignment, OnnxOperators

WORTH = 0.002
"""What moves less than this share of the time cannot be told from chance, and is not tried."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All that may be tried."""

    units: tuple[Unit, ...]
    forms: tuple[OnnxOperators, ...]
    """That of the recipe first."""
    evidence: Evidence

    @property
    def everything(self) -> frozenset[str]:
        """The names of all units."""
        return frozenset(unit.name for unit in self.units)

    @property
    def fp32(self) -> Division:
        """The network as it is, which every search begins with."""
        return Division(operators=self.forms[0], fp32=self.everything)

    @property
    def int8(self) -> Division:
        """All in int8, as the recipe has it."""
        return Division(operators=self.forms[0], fp32=frozenset())

    def division(self, assignment: Assignment) -> Division:
        """Return by units what is written down by nodes; all in fp32 has no form. Raises StepError."""
        found = divided(self.units, assignment)
        return self.fp32 if found.fp32 == self.everything else found


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A division, and what tables call it. No two proposals of a search have one name."""

    what: str
    division: Division


def starts(space: Space) -> Iterator[Proposal]:
    """Yield what is tried whatever comes of it: all of it, in each form; what the profile says; the products alone."""
    for form in space.forms:
        what = "all in int8" if form == space.forms[0] else f"all in int8, {form}"
        yield Proposal(what=what, division=Division(operators=form, fp32=frozenset()))
    for form in space.forms:
        dear = frozenset(name for name in space.everything if space.evidence.saving(frozenset([name])) > 0)
        what = f"in fp32 what is faster so by the profile{'' if form == space.forms[0] else f', {form}'}"
        yield Proposal(what=what, division=Division(operators=form, fp32=dear))
    only = space.everything - products(space.units)
    yield Proposal(what="the products alone in int8", division=Division(operators=space.forms[0], fp32=only))


def steps(space: Space, now: Division) -> Iterator[Proposal]:
    """Yield changes to a division: of kinds of operators, of parts of the network, of single operators.

    Each takes units to where the profile says that they are faster, those first of which it says most.
    """
    for title, groups in (
        ("", kinds(space.units)),
        ("all of ", blocks(space.units)),
        ("", _single(space.units)),
    ):
        yield from _flips(space, now, title, groups)


def _flips(space: Space, now: Division, title: str, groups: Mapping[str, frozenset[str]]) -> Iterator[Proposal]:
    savings = {name: space.evidence.saving(group) for name, group in groups.items()}
    for name in sorted(groups, key=lambda each: (-abs(savings[each]), each)):
        if abs(savings[name]) < WORTH * space.evidence.whole_ns:
            return
        to_fp32 = savings[name] > 0
        changed = now.fp32 | groups[name] if to_fp32 else now.fp32 - groups[name]
        if changed != now.fp32:
            yield Proposal(
                what=f"{title}{name} in {'fp32' if to_fp32 else 'int8'}",
                division=Division(operators=now.operators, fp32=changed),
            )


def _single(units: Sequence[Unit]) -> dict[str, frozenset[str]]:
    """Return each unit by the name of its layer where it is one, else by its node's."""
    firsts: dict[str, str] = {}
    for unit in units:
        firsts.setdefault(unit.layer, unit.name)
    return {
        f"{unit.layer} ({unit.kind})" if unit.layer and firsts[unit.layer] == unit.name else unit.name: frozenset(
            [unit.name]
        )
        for unit in units
    }
