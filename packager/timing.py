"""The time of artifacts, taken as `pack` takes it: by the runner, in rounds of fresh processes."""

from collections.abc import Callable, Sequence

from packager.check import Logits
from packager.evaluation import Questions
from runner.errors import StepError
from runner.measure import latency
from runner.measure.answers import Subject, make_job
from runner.measure.latency import Plan
from runner.measure.rounds import Course, instruments, time_in_rounds
from runner.progress import Progress
from runner.report import Latency, Settings


def course(subject: Subject, given: Logits, questions: Questions, settings: Settings) -> Course:
    """Return an artifact as it is timed; `given` is what it answered to the questions."""
    scenario, artifact = settings.scenario, subject.artifact
    job = make_job(subject, questions.locate(), questions.preprocess, scenario)
    return Course(name=artifact.name, job=job, scenario=scenario, answers=given, precision=artifact.precision)


def time(
    courses: Sequence[Course],
    plan: Plan,
    seed: int,
    progress: Progress,
    round_over: Callable[[], None] = lambda: None,
    *,
    title: str = "",
) -> None:
    """Fill in the courses, in rounds; `round_over` may end them before the plan does."""
    names = ", ".join(dict.fromkeys(each.name for each in courses))
    with progress.task(title or f"{names}: timing", plan.processes * len(courses)) as advance:
        time_in_rounds(courses, plan, seed, instruments(), advance, round_over)


def summary(timed: Course) -> Latency:
    """Return what a course came to. Raises StepError where its time cannot be told."""
    found = latency.latency(timed.timings())
    said = [*latency.reasons(timed.timings()), *filter(None, [timed.changed])]
    invalid = [each.detail for each in said if each.level == "invalid"]
    if found is None or invalid:
        raise StepError(f"the time of {timed.name} cannot be told: {'; '.join(invalid)}")
    return found
