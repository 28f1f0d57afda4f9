"""The artifacts of one target: made, run by the runner itself, held against the network in fp32 and the budget."""

from dataclasses import dataclass
from itertools import zip_longest

from packager import artifacts, budget, builders
from packager.artifacts import Built
from packager.asking import ask, subject
from packager.branches import Branch
from packager.builders import BuildContext
from packager.candidates import OPTIMISED, REFERENCE
from packager.check import check
from packager.evaluation import Questions
from packager.network import best
from packager.prepared import Prepared
from packager.quantize import sensitivity
from runner.errors import StepError, innermost
from runner.manifest import INTEGERS, Candidate, LeftOut, Target
from runner.measure.answers import Answers
from runner.packing import BudgetRecord, LayerDamage, Try
from runner.render.packing import described


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """An artifact that has been run, and how it came to hold the budget, if there is one."""

    built: Built
    given: Answers
    record: BudgetRecord | None

    @property
    def name(self) -> str:
        """The artifact's."""
        return self.built.artifact.name

    @property
    def size_bytes(self) -> int:
        """The file's."""
        return self.built.file.stat().st_size


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Job:
    """What is to be made of a network."""

    candidate: Candidate
    branch: Branch

    @property
    def name(self) -> str:
        """The artifact's."""
        return self.branch.context.artifact(self.candidate)


def make(target: Target, prepared: Prepared) -> tuple[tuple[Made, ...], tuple[LeftOut, ...]]:
    """Make a target's artifacts; what cannot be made is left out with its reason.

    Raises StepError where the reference cannot be made, or nothing of all that was to be integers.
    """
    made, left_out, failures = list[Made](), list[LeftOut](), list[StepError]()
    jobs = [Job(candidate=each, branch=branch) for branch in prepared.branches for each in branch.artifacts(target)]
    for job, following in zip_longest(jobs, jobs[1:]):
        try:
            made.append(_made(job, following, target, prepared))
        except StepError as error:
            if job.name == REFERENCE.name:
                raise
            left_out.append(_left_out(job.name, error))
            # That fp32 is faster is what a search may come to, and no failure.
            failures += [error] if job.candidate.precision in INTEGERS and job.candidate != OPTIMISED else []
            prepared.journal.say(f"{target.name}: {job.name}", "left out", left_out[-1].what)
    if failures and not any(each.built.artifact.precision in INTEGERS for each in made):
        raise failures[0]
    return tuple(made), tuple(left_out)


def damages(target: Target, prepared: Prepared) -> tuple[LayerDamage, ...]:
    """Return what each layer's quantization alone does to the answers, worst first, where the recipe asks for it.

    Where several networks are asked about, the worst layer of each is said, and the first one's layers are returned.
    """
    asked = [each.context for each in prepared.branches if each.context.quantize and each.context.quantize.sensitivity]
    found = [_damages(context, target, prepared) for context in asked]
    return next(filter(None, found), ())


def _damages(context: BuildContext, target: Target, prepared: Prepared) -> tuple[LayerDamage, ...]:
    """Return them of one network; none where they cannot be told, which no bundle shall fail of."""
    order = context.order(target)
    name = f"{target.name}: {f'{context.name}-' if context.name else ''}sensitivity"
    try:
        with prepared.journal.step(name) as step:
            exported = builders.onnx.to_quantize(context, order)
            found = sensitivity.sensitivity(exported.content, order, dynamic_batch=exported.dynamic_batch)
            step.note = f"{len(found)} layers{f', the worst {found[0].layer}' if found else ''}"
    except StepError as error:
        prepared.journal.say(name, "left out", innermost(error, StepError).what)
        return ()
    return found


def _left_out(name: str, error: StepError) -> LeftOut:
    # The failure alone: the journal has put what ran before around it.
    cause = innermost(error, StepError)
    return LeftOut(name=name, what=cause.what, advice=cause.advice)


def _made(job: Job, following: Job | None, target: Target, prepared: Prepared) -> Made:
    """Make one, and have the following one begun while the runner answers."""
    plan, journal, candidate, branch = prepared.bench.recipe, prepared.journal, job.candidate, job.branch
    name = f"{target.name}: {job.name}"
    found = None
    with journal.step(name) as step:
        if plan.budget is not None and prepared.validation is not None and candidate.precision in INTEGERS:
            found = _within_budget(candidate, branch, target, prepared)
            built = found.built
        else:
            built = artifacts.build(candidate, branch.context, target)
        step.cached = built.cached
        step.note = f"{built.file.stat().st_size:,} bytes{_learned(built)}"
    # What a budget tries next is known by the answers alone.
    if following is not None and plan.budget is None:
        artifacts.begin(following.candidate, following.branch.context, target)
    with journal.step(f"{name}: check") as step:
        examination = prepared.evaluation
        given = _answers(built, target, prepared, examination.questions)
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
    drop = examination.baseline.drop(given.logits)
    return Made(built=built, given=given, record=found.record(drop, plan.budget.max_drop / budget.POINTS))


def _learned(built: Built) -> str:
    return f", {best(built.epochs)}" if built.epochs else ""


def _within_budget(candidate: Candidate, branch: Branch, target: Target, prepared: Prepared) -> budget.Found:
    validation, plan = prepared.validation, prepared.bench.recipe.budget
    if validation is None or plan is None:
        raise StepError("the recipe has no [budget]")
    questions = validation.questions
    if candidate == OPTIMISED:
        # A search by the same budget has made the choice: nothing else is tried.
        built = artifacts.build(candidate, branch.context, target)
        drop = validation.baseline.drop(_answers(built, target, prepared, questions).logits)
        tried = Try(what="what is faster so in fp32", validation=drop, holds=drop.within(plan.max_drop / budget.POINTS))
        return budget.Found(built=built, chosen=tried.what, tries=(tried,))

    def say(tried: Try) -> None:
        outcome = "holds" if tried.holds else "too much" if tried.validation else "failed"
        prepared.journal.say(f"{target.name}: try {branch.context.artifact(candidate)}", outcome, described(tried))

    return budget.find(
        budget.Search(
            candidate=candidate,
            context=branch.context,
            target=target,
            budget=plan,
            validation=validation.baseline,
            answer=lambda built: _answers(built, target, prepared, questions).logits,
            say=say,
        )
    )


def _answers(built: Built, target: Target, prepared: Prepared, questions: Questions) -> Answers:
    return ask(subject(built, target), questions, prepared.settings, prepared.bench.progress)
