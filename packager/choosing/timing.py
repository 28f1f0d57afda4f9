"""How long candidates take here: one process of each first, and more of those that may yet be chosen."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from packager import timing
from packager.asking import subject
from packager.choosing import slower
from packager.making import Made
from packager.prepared import Prepared
from runner.fastest import cost
from runner.manifest import INTEGERS, Target
from runner.measure import latency
from runner.measure.latency import Plan
from runner.measure.rounds import Course
from runner.report import Latency

FIRST_LOOK = Plan(processes=1, warmup_s=0.2, timed_s=0.4, least_samples=10)
SECOND_LOOK = Plan(processes=3, warmup_s=0.3, timed_s=0.7, least_samples=30)
HOPELESS = 1.5
"""After the first look, what takes so many times as long as the fastest is timed no more: processes' medians differ by
less, and what is kept for its size or its answers needs no better figure."""


def timed(made: Sequence[Made], target: Target, prepared: Prepared) -> dict[str, Course]:
    """Return what worker processes measured of each artifact, by its name, in turn with the others."""
    courses = {each.name: _course(each, target, prepared) for each in made}
    _time(list(courses.values()), FIRST_LOOK, prepared)
    found = {name: _cost_ns(course, prepared) for name, course in courses.items()}
    costs = {name: each for name, each in found.items() if each is not None}
    again = _again(costs, {each.name for each in made if each.built.artifact.precision in INTEGERS})
    for name, course in courses.items():
        course.stopped = None if name in again else course.stopped
    _time([course for course in courses.values() if course.stopped is None], SECOND_LOOK, prepared)
    return courses


def _again(costs_ns: Mapping[str, float], integers: Collection[str]) -> set[str]:
    """Return what is worth a second look: what may be the fastest, and what may be integers that are slower."""
    near = {name for name, each in costs_ns.items() if each <= HOPELESS * min(costs_ns.values())}
    return near | slower.doubtful(costs_ns, integers, HOPELESS)


def latency_of(course: Course) -> Latency | None:
    """Return what follows from a course, or None where no process has ended or its answers changed meanwhile."""
    if course.changed is not None and course.changed.level == "invalid":
        return None
    return latency.latency(course.timings())


def _cost_ns(course: Course, prepared: Prepared) -> float | None:
    found = latency_of(course)
    return cost(found, prepared.settings.minimise).median_ns if found else None


def _time(courses: Sequence[Course], plan: Plan, prepared: Prepared) -> None:
    timing.time(courses, plan, prepared.settings.seed, prepared.bench.progress, title="choose")


def _course(made: Made, target: Target, prepared: Prepared) -> Course:
    asked = subject(made.built, target)
    # What the CPU has answered in the place of a device, it is timed on too.
    stands_in = made.given.runtime.device != made.built.artifact.device
    asked = replace(asked, stand_in=stands_in)
    return timing.course(asked, made.given.logits, prepared.evaluation.questions, prepared.settings)
