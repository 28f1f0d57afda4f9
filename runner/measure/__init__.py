"""Measure what is in a bundle: first the answers of every artifact, then the time that each takes."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from runner import __version__, device
from runner.bundle import INPUTS, Bundle
from runner.device.forecast import forecast
from runner.errors import MeasurementError, RuntimeUnavailable, UsageError, nearest
from runner.manifest import Artifact, Manifest
from runner.measure import conditions
from runner.measure.accuracy import accuracy, logits_problem
from runner.measure.answers import Answers, Evaluation, Subject, answers, load_evaluation, make_job
from runner.measure.latency import PLANS, Plan
from runner.measure.rounds import Course, instruments, time_in_rounds
from runner.measure.trial import Trial, fastest
from runner.measure.workers import WORKERS, Workers
from runner.packing import Packing
from runner.progress import Progress, Silent
from runner.report import DeviceFacts, DeviceState, Effort, Reason, Report, Settings, seal


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """What only `pack` has to add. Its report may have a CPU's answers where the target's device is not here."""

    packing: Packing
    answers: Mapping[str, Answers] = field(default_factory=dict)
    """Of the artifacts that have been run already, by name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What is measured with, and where what there is so far is kept; tests put in their own."""

    workers: Workers = WORKERS
    facts: Callable[[], DeviceFacts] = device.facts
    state: Callable[[], DeviceState] = device.state
    plans: Mapping[Effort, Plan] = field(default_factory=lambda: PLANS)
    save: Callable[[Report], None] = lambda _: None


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What stays the same through one run."""

    source: Bundle
    settings: Settings
    evaluation: Evaluation
    facts: DeviceFacts
    host: Host | None
    progress: Progress
    bench: Bench
    folder: Path
    """Where artifacts are written as files."""


def run(
    source: Bundle,
    settings: Settings,
    *,
    only: Sequence[str] = (),
    host: Host | None = None,
    progress: Progress = Silent(),  # noqa: B008 - has no state
    bench: Bench = Bench(),
) -> Report:
    """Measure the artifacts of a bundle, or `only` those named.

    After Ctrl-C the report has what was finished by then, and says so; `bench.save` is given such a report whenever one
    more artifact has been answered or timed.
    Raises UsageError, BundleError, and RuntimeUnavailable where no artifact at all can be run here.
    """
    trials = [Trial(artifact=artifact) for artifact in _chosen(source.manifest, only)]
    evaluation = load_evaluation(source, [trial.artifact.name for trial in trials])
    for scenario in (settings.scenario, *settings.more):
        if not 0 < scenario.batch <= evaluation.samples:
            expected = f"expected 1 to {evaluation.samples}, the samples that there are"
            raise UsageError(f"batch: {expected}, got {scenario.batch}")
    created = datetime.now(tz=UTC).isoformat(timespec="seconds")
    facts, before = bench.facts(), bench.state()
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        setup = Setup(
            source=source,
            settings=settings,
            evaluation=evaluation,
            facts=facts,
            host=host,
            progress=progress,
            bench=bench,
            folder=Path(folder),
        )

        def keep() -> None:
            bench.save(_report(setup, trials, (before, bench.state()), created=created, complete=False))

        complete = _measure(setup, trials, keep)
    return _report(setup, trials, (before, bench.state()), created=created, complete=complete)


def _measure(setup: Setup, trials: Sequence[Trial], keep: Callable[[], None]) -> bool:
    """Fill in the trials, and say whether that came to its end; what there is by then is kept from time to time."""
    try:
        for trial in trials:
            _answer(setup, trial)
            if trial.answers:
                keep()
        if all(trial.unavailable for trial in trials):
            raise _nothing_runs(trials)
        _time_all(setup, [course for trial in trials for course in trial.courses], keep)
    except KeyboardInterrupt:
        return False
    return True


def _chosen(manifest: Manifest, only: Sequence[str]) -> list[Artifact]:
    known = [artifact.name for artifact in manifest.artifacts]
    for name in only:
        if name not in known:
            advice = nearest(name, known) or f"one of {', '.join(known)}"
            raise UsageError(f"no artifact {name!r} in this bundle", where=manifest.name, advice=advice)
    return [artifact for artifact in manifest.artifacts if not only or artifact.name in only]


def _answer(setup: Setup, trial: Trial) -> None:
    """Take the artifact's answers and judge them, or note why that cannot be."""
    artifact, evaluation = trial.artifact, setup.evaluation
    reason = conditions.obstacle(artifact, setup.facts, stand_in=setup.host is not None)
    if reason:
        trial.unavailable = True
        trial.reasons.append(reason)
        return
    trial.expected = forecast(artifact, setup.facts, setup.source.manifest.target)
    for each in trial.expected.reasons:
        setup.progress.say(f"{artifact.name}: {each.line}")
    trial.subject = Subject(
        artifact=artifact,
        file=setup.source.extract(artifact.path, setup.folder),
        target=setup.source.manifest.target,
        stand_in=artifact.device == "cuda" and not setup.facts.cuda,
    )
    try:
        trial.answers = _known_answers(setup, artifact.name) or _take_answers(setup, trial.subject)
    except RuntimeUnavailable as error:
        trial.unavailable = True
        trial.reasons.append(Reason(code="cannot-load", level="note", detail=error.what, advice=error.advice))
    except MeasurementError as error:
        trial.reasons.append(Reason(code="worker-failed", level="invalid", detail=error.what, advice=error.advice))
    else:
        _judge(evaluation, trial, trial.answers)
        _decide_timing(setup, trial, trial.subject)


def _known_answers(setup: Setup, name: str) -> Answers | None:
    return setup.host.answers.get(name) if setup.host else None


def _take_answers(setup: Setup, subject: Subject) -> Answers:
    evaluation, scenario = setup.evaluation, setup.settings.scenario
    with setup.progress.task(f"{subject.artifact.name}: answers", evaluation.samples) as advance:
        return answers(subject, evaluation.inputs, evaluation.preprocess, scenario, advance, setup.bench.workers)


def _judge(evaluation: Evaluation, trial: Trial, given: Answers) -> None:
    problem = logits_problem(given.logits, evaluation.samples, evaluation.classes)
    if problem:
        trial.reasons.append(problem)
        return
    host = evaluation.host[trial.artifact.name]
    trial.accuracy = accuracy(given.logits, host, evaluation.reference, evaluation.labels, evaluation.classes)


def _decide_timing(setup: Setup, trial: Trial, subject: Subject) -> None:
    """Time nothing whose answers are void, that runs in another's place, or that cannot take the batch asked for."""
    if subject.stand_in:
        trial.reasons.append(conditions.no_device(subject.target))
        return
    if trial.accuracy is None or trial.answers is None:
        return
    fixed = []
    for scenario in (setup.settings.scenario, *setup.settings.more):
        if scenario.batch > 1 and not trial.artifact.dynamic_batch:
            fixed.append(scenario.batch)
            continue
        job = make_job(subject, setup.evaluation.inputs, setup.evaluation.preprocess, scenario)
        name, logits = trial.artifact.name, trial.answers.logits
        trial.courses.append(Course(name=name, job=job, scenario=scenario, answers=logits))
    if fixed:
        batches = " and ".join(map(str, dict.fromkeys(fixed)))
        detail = f"takes one sample at a time, and a batch of {batches} was asked for: its time was not taken"
        trial.reasons.append(Reason(code="fixed-batch", level="note", detail=detail, advice="--batch 1"))


def _time_all(setup: Setup, courses: Sequence[Course], ended: Callable[[], None]) -> None:
    plan = setup.bench.plans[setup.settings.effort]
    with setup.progress.task("timing", plan.processes * len(courses)) as advance:
        time_in_rounds(courses, plan, setup.settings.seed, instruments(setup.bench.workers), advance, ended)


def _nothing_runs(trials: Sequence[Trial]) -> RuntimeUnavailable:
    reasons = [(trial.artifact.name, reason) for trial in trials for reason in trial.reasons]
    what = "; ".join(f"{name}: {reason.detail}" for name, reason in reasons)
    advice = next((reason.advice for _, reason in reasons if reason.advice), "")
    return RuntimeUnavailable(f"nothing here can run any of the artifacts: {what}", advice=advice)


def _report(
    setup: Setup, trials: Sequence[Trial], states: tuple[DeviceState, DeviceState], *, created: str, complete: bool
) -> Report:
    source, evaluation, facts = setup.source, setup.evaluation, setup.facts
    before, after = states
    entries = {entry.path: entry for entry in source.manifest.entries}
    artifacts = tuple(trial.report(entries[trial.artifact.path]) for trial in trials)
    predictions = evaluation.reference.argmax(axis=1)
    reference_top1 = float(np.mean(predictions == evaluation.labels))
    return seal(
        Report(
            bundle_id=source.id,
            bundle_name=source.manifest.name,
            bundle_size_bytes=None if setup.host else source.size_bytes,
            target=source.manifest.target.name,
            created=created,
            edgepack=__version__,
            settings=setup.settings,
            device=facts,
            before=before,
            after=after,
            labels=tuple(evaluation.labels.tolist()),
            reference_predictions=tuple(predictions.tolist()),
            artifacts=artifacts,
            fastest=None if facts.emulated else fastest(artifacts, reference_top1),
            reasons=conditions.machine_reasons(facts, source.manifest.target) + conditions.state_reasons(before, after),
            complete=complete,
            packing=setup.host.packing if setup.host else None,
            inputs_sha256=entries[INPUTS].sha256,
        )
    )
