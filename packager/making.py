"""The artifacts of one target: made, run by the runner itself, held against the network in fp32 and the budget."""

from dataclasses import dataclass

from packager import artifacts, budget
from packager.artifacts import Built
from packager.asking import ask, subject
from packager.branches import Branch
from packager.check import check
from packager.evaluation import Questions
from packager.job import Job
from packager.network import best
from packager.quantize import sensitivity
from packager.roads import Workshop, float_onnx
from runner.errors import StepError
from runner.manifest import INTEGERS, Candidate, LeftOut, Target
from runner.measure.answers import Answers
from runner.packing import BudgetRecord, LayerDamage, Try
from runner.render.packing import described

REFERENCE = Candidate(precision="fp32", format="onnx")
"""What every bundle has, and what the others are held against."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An artifact that has been run, and how it came to hold the budget, if there is one."""

    built: Built
    given: Answers
    record: BudgetRecord | None


def make(target: Target, job: Job) -> tuple[tuple[Made, ...], tuple[LeftOut, ...]]:
    """Make a target's artifacts; what cannot be made is left out with its reason.

    Raises StepError where the reference cannot be made, or nothing of all that was to be integers.
    """
    made, left_out, failures = list[Made](), list[LeftOut](), list[StepError]()
    for branch in job.branches:
        for candidate in branch.artifacts(target):
            name = branch.workshop.artifact(candidate)
            try:
                made.append(_made(candidate, branch, target, job))
            except StepError as error:
                if name == REFERENCE.name:
                    raise
                left_out.append(_left_out(name, error))
                failures += [error] if candidate.precision in INTEGERS else []
                job.journal.say(f"{target.name}: {name}", "left out", left_out[-1].what)
    if failures and not any(each.built.artifact.precision in INTEGERS for each in made):
        raise failures[0]
    return tuple(made), tuple(left_out)


def damages(target: Target, job: Job) -> tuple[LayerDamage, ...]:
    """Return what each layer's quantization alone does to the answers, worst first, where the recipe asks for it.

    Where several networks are asked about, the worst layer of each is said, and the first one's layers are returned.
    """
    asked = [each.workshop for each in job.branches if each.workshop.quantize and each.workshop.quantize.sensitivity]
    found = [_damages(workshop, target, job) for workshop in asked]
    return next(filter(None, found), ())


def _damages(workshop: Workshop, target: Target, job: Job) -> tuple[LayerDamage, ...]:
    """Return them of one network; none where they cannot be told, which no bundle shall fail of."""
    order = workshop.order(target)
    name = f"{target.name}: {f'{workshop.name}-' if workshop.name else ''}sensitivity"
    try:
        with job.journal.step(name) as step:
            exported = float_onnx(workshop, order)
            found = sensitivity.sensitivity(exported.content, order, dynamic_batch=exported.dynamic_batch)
            step.note = f"{len(found)} layers{f', the worst {found[0].layer}' if found else ''}"
    except StepError as error:
        job.journal.say(name, "left out", _cause(error).what)
        return ()
    return found


def _left_out(name: str, error: StepError) -> LeftOut:
    cause = _cause(error)
    return LeftOut(name=name, what=cause.what, advice=cause.advice)


def _cause(error: StepError) -> StepError:
    """Return the failure alone: the journal has put what ran before around it."""
    return error.__cause__ if isinstance(error.__cause__, StepError) else error


def _made(candidate: Candidate, branch: Branch, target: Target, job: Job) -> Made:
    plan, journal = job.bench.recipe, job.journal
    name = f"{target.name}: {branch.workshop.artifact(candidate)}"
    found = None
    with journal.step(name) as step:
        if plan.budget is not None and job.validation is not None and candidate.precision in INTEGERS:
            found = _within_budget(candidate, branch, target, job)
            built = found.built
        else:
            built = artifacts.build(candidate, branch.workshop, target)
        step.cached = built.cached
        step.note = f"{built.file.stat().st_size:,} bytes{_learned(built)}"
    with journal.step(f"{name}: check") as step:
        examination = job.evaluation
        given = _answers(built, target, job, examination.questions)
        agreement = check(
            built.artifact.name,
            candidate.precision,
            given.logits,
            branch.reference,
            examination.questions.labels,
            trained=bool(built.epochs),
        )
        step.note = f"signal to noise {agreement.snr_db:.1f} dB, same answer on {agreement.agreement:.2%}"
    if found is None or plan.budget is None:
        return Made(built=built, given=given, record=None)
    drop = examination.ground.drop(given.logits)
    return Made(built=built, given=given, record=found.record(drop, plan.budget.max_drop / budget.POINTS))


def _learned(built: Built) -> str:
    return f", {best(built.epochs)}" if built.epochs else ""


def _within_budget(candidate: Candidate, branch: Branch, target: Target, job: Job) -> budget.Found:
    validation, plan = job.validation, job.bench.recipe.budget
    if validation is None or plan is None:
        raise StepError("the recipe has no [budget]")
    questions = validation.questions

    def say(tried: Try) -> None:
        outcome = "holds" if tried.holds else "too much" if tried.validation else "failed"
        job.journal.say(f"{target.name}: try {branch.workshop.artifact(candidate)}", outcome, described(tried))

    return budget.find(
        budget.Search(
            candidate=candidate,
            workshop=branch.workshop,
            target=target,
            budget=plan,
            validation=validation.ground,
            answer=lambda built: _answers(built, target, job, questions).logits,
            say=say,
        )
    )


def _answers(built: Built, target: Target, job: Job, questions: Questions) -> Answers:
    return ask(subject(built, target), questions, job.settings, job.bench.progress)
