"""The taking of answers: what each artifact says to every sample, judged, and whether its time is worth taking."""

from collections.abc import Callable, Sequence

from runner.device.forecast import forecast
from runner.device.obstacle import obstacle
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.logits import logits_problem
from runner.measure import conditions
from runner.measure.accuracy import accuracy
from runner.measure.answers import Answers, Evaluation, Subject, answers, make_job
from runner.measure.gpu import gpu_reasons
from runner.measure.rounds import Course
from runner.measure.session import Session
from runner.measure.trial import Trial
from runner.reason import Reason


def answer_all(session: Session, keep: Callable[[], None]) -> None:
    """Take the answers of every artifact; `keep` is called after each. Raises RuntimeUnavailable where none runs."""
    for trial in session.trials:
        answer(session, trial)
        if trial.answers:
            keep()
    if all(trial.unavailable for trial in session.trials):
        raise _nothing_runs(session.trials)


def first_course(session: Session, preferred: str | None) -> Course:
    """Answer one artifact after the other, the preferred one first, until one can be timed, and return that.

    Raises RuntimeUnavailable where none runs here, and MeasurementError where none answers well.
    """
    for trial in sorted(session.trials, key=lambda trial: trial.artifact.name != preferred):
        answer(session, trial)
        if trial.courses:
            return trial.courses[0]
    if all(trial.unavailable for trial in session.trials):
        raise _nothing_runs(session.trials)
    what = "; ".join(f"{trial.artifact.name}: {reason.detail}" for trial in session.trials for reason in trial.reasons)
    raise MeasurementError(f"nothing can be timed: {what}", advice="pack the bundle again")


def answer(session: Session, trial: Trial) -> None:
    """Take an artifact's answers and judge them, or note why that cannot be."""
    artifact, evaluation = trial.artifact, session.evaluation
    python = session.bench.python(bool(session.facts.cuda))
    reason = obstacle(artifact, session.facts, python, stand_in=session.host is not None)
    if reason:
        trial.unavailable = True
        trial.reasons.append(reason)
        return
    trial.expected = forecast(artifact, session.facts, session.source.manifest.target)
    for each in trial.expected.reasons:
        session.progress.say(f"{artifact.name}: {each.line}")
    known = _known_answers(session, artifact.name)
    answered_by_cpu = known is not None and known.runtime.device == "cpu"
    trial.subject = Subject(
        artifact=artifact,
        file=session.source.extract(artifact.path, session.folder),
        target=session.source.manifest.target,
        stand_in=artifact.device == "cuda" and (answered_by_cpu or not session.facts.cuda),
    )
    try:
        trial.answers = known or _take_answers(session, trial.subject)
    except RuntimeUnavailable as error:
        trial.unavailable = True
        trial.reasons.append(Reason(code="cannot-load", level="note", detail=error.what, advice=error.advice))
    except MeasurementError as error:
        trial.reasons.append(Reason(code="worker-failed", level="invalid", detail=error.what, advice=error.advice))
    else:
        trial.reasons += gpu_reasons(trial.answers.runtime, session.facts, session.before)
        _judge(evaluation, trial, trial.answers)
        _decide_timing(session, trial, trial.subject)


def _known_answers(session: Session, name: str) -> Answers | None:
    return session.host.answers.get(name) if session.host else None


def _take_answers(session: Session, subject: Subject) -> Answers:
    evaluation, scenario = session.evaluation, session.settings.scenario
    with session.progress.task(f"{subject.artifact.name}: answers", evaluation.samples) as advance:
        return answers(subject, evaluation.inputs, evaluation.preprocess, scenario, advance, session.bench.workers)


def _judge(evaluation: Evaluation, trial: Trial, given: Answers) -> None:
    problem = logits_problem(given.logits, evaluation.samples, evaluation.classes)
    if problem:
        trial.reasons.append(problem)
        return
    host = evaluation.host[trial.artifact.name]
    trial.accuracy = accuracy(given.logits, host, evaluation.reference, evaluation.labels, evaluation.classes)


def _decide_timing(session: Session, trial: Trial, subject: Subject) -> None:
    """Time nothing whose answers are void, that runs in another's place, or that cannot take the batch asked for."""
    if subject.stand_in:
        trial.reasons.append(conditions.no_device(subject.target, session.facts))
        return
    if trial.accuracy is None or trial.answers is None:
        return
    fixed = []
    for scenario in (session.settings.scenario, *session.settings.more):
        if scenario.batch > 1 and not trial.artifact.dynamic_batch:
            fixed.append(scenario.batch)
            continue
        job = make_job(subject, session.evaluation.inputs, session.evaluation.preprocess, scenario)
        name, precision, logits = trial.artifact.name, trial.artifact.precision, trial.answers.logits
        trial.courses.append(Course(name=name, job=job, scenario=scenario, answers=logits, precision=precision))
    if fixed:
        batches = " and ".join(map(str, dict.fromkeys(fixed)))
        detail = f"takes one sample at a time, and a batch of {batches} was asked for: its time was not taken"
        trial.reasons.append(Reason(code="fixed-batch", level="note", detail=detail, advice="--batch 1"))


def _nothing_runs(trials: Sequence[Trial]) -> RuntimeUnavailable:
    reasons = [(trial.artifact.name, reason) for trial in trials for reason in trial.reasons]
    what = "; ".join(f"{name}: {reason.detail}" for name, reason in reasons)
    advice = next((reason.advice for _, reason in reasons if reason.advice), "")
    return RuntimeUnavailable(f"nothing here can run any of the artifacts: {what}", advice=advice)
