"""The choice where the host can run the target's code: the Pareto front of what it has measured."""

from collections.abc import Mapping, Sequence

from packager.candidates import REFERENCE
from packager.choosing import front, holding, slower, timing
from packager.choosing.front import Figures, Rank
from packager.making import Made
from packager.prepared import Prepared
from packager.recipe import Choose
from runner.fastest import Cost, cost
from runner.manifest import INTEGERS, Target
from runner.measure.rounds import Course
from runner.packing import Contender


def contenders(own: Sequence[Made], plan: Choose, target: Target, prepared: Prepared) -> list[Contender]:
    """Return what becomes of each artifact, with the figures that say so."""
    top1 = holding.top1s(own, prepared)
    why = holding.refused(own, prepared)
    courses = timing.timed([each for each in own if each.name not in why], target, prepared)
    costs = _costs(courses, prepared)
    why |= {name: _untold(course) for name, course in courses.items() if name not in costs}
    why |= slower.slower(costs, {each.name for each in own if each.built.artifact.precision in INTEGERS})
    found = [
        Figures(
            name=each.name,
            size_bytes=each.size_bytes,
            top1=top1[each.name],
            cost_ns=costs[each.name].median_ns,
        )
        for each in own
        if each.name in costs and each.name not in why
    ]
    ranks = {name: Rank(kept=name == REFERENCE.name, why=each) for name, each in why.items()}
    ranks |= front.ranked(found, plan.keep, free=REFERENCE.name)
    return [_contender(each, top1[each.name], costs.get(each.name), ranks[each.name]) for each in own]


def _contender(made: Made, top1: float, cost: Cost | None, rank: Rank) -> Contender:
    return Contender(
        name=made.name,
        size_bytes=made.size_bytes,
        top1=top1,
        cost_ns=cost.median_ns if cost else None,
        interval=cost.interval if cost else None,
        kept=rank.kept,
        why=rank.why,
    )


def _untold(course: Course) -> str:
    cause = course.failures[0].what if course.failures else course.changed.detail if course.changed else "interrupted"
    return f"its time cannot be told: {cause}"


def _costs(courses: Mapping[str, Course], prepared: Prepared) -> dict[str, Cost]:
    found = {name: timing.latency_of(course) for name, course in courses.items()}
    return {name: cost(each, prepared.settings.minimise) for name, each in found.items() if each is not None}
