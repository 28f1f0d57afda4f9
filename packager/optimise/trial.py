"""Makes, runs and times the files of divisions: the runner judges, in fresh processes that take turns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packager import timing
from packager.asking import ask
from packager.budget import Baseline
from packager.check import Logits, check
from packager.evaluation import Questions
from packager.optimise.greedy import Ratio
from packager.optimise.material import Material
from packager.optimise.units import ALL, Division
from runner import stats
from runner.errors import StepError
from runner.interval import Interval
from runner.manifest import Artifact, Precision, Target
from runner.measure.answers import Subject
from runner.measure.latency import Plan
from runner.measure.rounds import Course
from runner.packing import Drop, Speed
from runner.progress import Progress
from runner.report import Settings
from runner.stats.ranks import paired_ratio

CONFIDENCE = 0.95
SCREEN = 3
"""Pairs of processes after which what is not faster by the estimate is given up."""
TRIAL = Plan(processes=6, warmup_s=0.1, timed_s=0.25, until_precise=False)
"""6 pairs are the fewest of which the signed-rank test says something at 95 %."""
FINAL = Plan(processes=16, warmup_s=0.25, timed_s=0.5, until_precise=False)
ENOUGH = 8
"""Pairs after which the confirmation ends, unless what is faster by the estimate is not so by the interval."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plans:
    """How long trials and the confirmation are timed."""

    trial: Plan = TRIAL
    final: Plan = FINAL


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RunnerJudge:
    """Judges by the validation split and this machine's time."""

    name: str
    target: Target
    material: Material
    validation: Questions
    few: Questions
    """The first of the same images: what is timed."""
    baseline: Baseline
    """What a drop is measured against."""
    reference: Logits
    """Of the network in fp32 that is divided, on the validation split."""
    settings: Settings
    folder: Path
    progress: Progress
    plans: Plans
    answered: dict[str, Logits] = field(default_factory=dict)
    """What files have answered to the few, by their names."""

    def ratio(self, new: Division, old: Division) -> Ratio:
        """Return how much longer the new one takes, in pairs. Raises StepError."""
        courses = [self._course(old), self._course(new)]

        def round_over() -> None:
            pairs = _pairs(*courses)
            if len(pairs[0]) >= SCREEN and paired_ratio(*pairs)[0] >= 1:
                for course in courses:
                    course.stopped = "precision"

        timing.time(courses, self.plans.trial, self.settings.seed, self.progress, round_over)
        return _ratio(*courses)

    def drop(self, division: Division) -> Drop:
        """Return what it loses on the validation split. Raises StepError where it is broken."""
        subject, labels = self._subject(division), self.validation.labels
        given = ask(subject, self.validation, self.settings, self.progress).logits
        check(self.name, subject.artifact.precision, given, self.reference, labels)
        return self.baseline.drop(given)

    def confirm(self, division: Division) -> tuple[Speed, ...]:
        """Time fp32, all in int8, and a division beside each other. Raises StepError."""
        operators = self.material.forms[0]
        everything = frozenset(unit.name for unit in self.material.units)
        asked = {
            "fp32": Division(operators=operators, fp32=everything),
            "all in int8": Division(operators=operators, fp32=frozenset()),
            "optimised": division,
        }
        courses = {what: self._course(each) for what, each in asked.items()}
        fp32, found = courses["fp32"], courses["optimised"]

        def round_over() -> None:
            pairs = _pairs(fp32, found)
            # One look, and not one after each round: chance would have its way in one of many.
            if len(pairs[0]) == ENOUGH and not _undecided(*paired_ratio(*pairs, CONFIDENCE)):
                for course in courses.values():
                    course.stopped = "precision"

        timing.time(list(courses.values()), self.plans.final, self.settings.seed, self.progress, round_over)
        return tuple(_speed(what, course, courses["fp32"]) for what, course in courses.items())

    def _course(self, division: Division) -> Course:
        subject = self._subject(division)
        key = subject.file.name
        if key not in self.answered:
            self.answered[key] = ask(subject, self.few, self.settings, self.progress).logits
        return timing.course(subject, self.answered[key], self.few, self.settings)

    def _subject(self, division: Division) -> Subject:
        is_fp32 = division.assignment(self.material.units).fp32 == (ALL,)
        return self.subject(self.material.content(division), "fp32" if is_fp32 else "int8")

    def subject(self, content: bytes, precision: Precision) -> Subject:
        """Return a file as the runner takes it."""
        file = self.folder / f"{hashlib.sha256(content).hexdigest()[:16]}.onnx"
        if not file.exists():
            file.write_bytes(content)
        artifact = Artifact(
            name=self.name,
            path=file.name,
            precision=precision,
            format="onnx",
            dynamic_batch=self.material.whole.dynamic_batch,
            made_with={},
        )
        return Subject(artifact=artifact, file=file, target=self.target)


def _pairs(first: Course, second: Course) -> tuple[list[float], list[float]]:
    """Return the medians of the processes that took turns: of rounds in which neither was lost."""
    ours, theirs = (
        {process.turn: stats.median(process.samples_ns) for process in course.processes} for course in (first, second)
    )
    both = sorted(ours.keys() & theirs.keys())
    return [ours[turn] for turn in both], [theirs[turn] for turn in both]


def _undecided(estimate: float, interval: Interval | None) -> bool:
    return estimate < 1 and (interval is None or interval.high >= 1)


def _ratio(old: Course, new: Course) -> Ratio:
    """Return what the pairs say. Raises StepError where there are too few, or answers have changed."""
    _refuse_changed([old, new])
    pairs = _pairs(old, new)
    if len(pairs[0]) < SCREEN:
        failure = next((each.what for course in (new, old) for each in course.failures), "no process finished")
        raise StepError(f"its time cannot be told: {failure}")
    estimate, interval = paired_ratio(*pairs, CONFIDENCE)
    return Ratio(estimate=estimate, interval=interval)


def _refuse_changed(courses: Sequence[Course]) -> None:
    for course in courses:
        if course.changed is not None:
            raise StepError(course.changed.detail, advice=course.changed.advice)


def _speed(what: str, course: Course, fp32: Course) -> Speed:
    timed = timing.summary(course)
    if course is fp32:
        return Speed(what=what, median_ns=timed.median_ns, interval=timed.interval)
    found = _ratio(fp32, course)
    return Speed(
        what=what,
        median_ns=timed.median_ns,
        interval=timed.interval,
        ratio=found.estimate,
        interval_of_ratio=found.interval,
    )
