"""One bundle that is measured here: what is known of it from the start, and what is found as the run goes on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from runner import __version__, device, install, noise
from runner.bundle import INPUTS, Bundle
from runner.device.energy import Meter, meters
from runner.errors import UsageError, nearest
from runner.facts import DeviceFacts, DeviceState
from runner.fastest import fastest
from runner.install import Interpreter
from runner.manifest import Artifact, Manifest
from runner.measure import conditions
from runner.measure.answers import Answers, Evaluation, load_evaluation
from runner.measure.energy import energy, sorted_out
from runner.measure.latency import PLANS, Plan
from runner.measure.operators import operator_times
from runner.measure.rounds import Course, Instruments, instruments
from runner.measure.trial import Trial
from runner.packing import Packing
from runner.progress import Progress
from runner.reason import Reason
from runner.report import Effort, Report, Settings, seal
from runner.workers import WORKERS, Workers


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
    save_every_s: float = 10.0
    """At most so often while artifacts are timed: a report has every sample, and takes its time."""
    instruments: Callable[[Workers], Instruments] = instruments
    """What looks at the machine while the workers run."""
    meters: Callable[[], Sequence[Meter]] = meters
    """Of energy."""
    python: Callable[[bool], Interpreter] = install.here
    """For which what is missing would be installed."""
    floor: Callable[[DeviceFacts, int], float | None] = noise.load
    """By how much two sessions on this device with so many threads differ, where `selftest` has measured it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """A bundle, how it is measured, and its artifacts, of which more becomes known."""

    source: Bundle
    settings: Settings
    trials: tuple[Trial, ...]
    evaluation: Evaluation
    created: str
    """The start of the run, UTC, ISO 8601."""
    facts: DeviceFacts
    before: DeviceState
    progress: Progress
    bench: Bench
    folder: Path
    """Where artifacts are written as files."""
    host: Host | None = None
    interleaved: str | None = None
    """What this session has in common with the other one that it takes turns with."""

    @property
    def courses(self) -> tuple[Course, ...]:
        """What is to be timed."""
        return tuple(course for trial in self.trials for course in trial.courses)


def begin(  # noqa: PLR0913 - what a run is given, and where
    source: Bundle,
    settings: Settings,
    *,
    only: Sequence[str],
    progress: Progress,
    bench: Bench,
    folder: Path,
    host: Host | None = None,
    interleaved: str | None = None,
) -> Session:
    """Return a session in which nothing is measured yet. Raises UsageError and BundleError."""
    trials = tuple(Trial(artifact=artifact) for artifact in chosen(source.manifest, only))
    evaluation = load_evaluation(source, [trial.artifact.name for trial in trials])
    for scenario in (settings.scenario, *settings.more):
        if not 0 < scenario.batch <= evaluation.samples:
            expected = f"expected 1 to {evaluation.samples}, the samples that there are"
            raise UsageError(f"batch: {expected}, got {scenario.batch}")
    return Session(
        source=source,
        settings=settings,
        trials=trials,
        evaluation=evaluation,
        created=datetime.now(tz=UTC).isoformat(timespec="seconds"),
        facts=bench.facts(),
        before=bench.state(),
        progress=progress,
        bench=bench,
        folder=folder,
        host=host,
        interleaved=interleaved,
    )


def warn(session: Session) -> None:
    """Say before long work which of the scenarios this machine has too few CPUs for."""
    cpus = session.facts.cpus
    for scenario in (session.settings.scenario, *session.settings.more):
        if scenario.threads * scenario.streams > cpus:
            what = (
                f"more threads than the {cpus} CPUs that this machine lets us keep busy: they will wait for each other"
            )
            session.progress.say(f"{scenario.words}: {what}; try: --threads {cpus} --streams 1")


def measure_energy(session: Session) -> None:
    """Measure the energy of every artifact that was timed, where the machine has a meter; a mute one says so once."""
    timed = [trial for trial in session.trials if trial.courses and trial.courses[0].processes]
    if not timed:
        return
    meters, timed[0].energy = sorted_out(session.bench.meters())
    if not meters:
        return
    with session.progress.task("energy", len(timed)) as advance:
        for trial in timed:
            trial.energy = (*energy(trial.courses[0], meters, session.bench.workers), *trial.energy)
            advance(1, trial.artifact.name)


def profile_operators(session: Session) -> None:
    """Take the time of each operator of every artifact that was timed, if that was asked for."""
    timed = [trial for trial in session.trials if trial.courses and trial.courses[0].processes]
    if not session.settings.profile_ops or not timed:
        return
    with session.progress.task("operators", len(timed)) as advance:
        for trial in timed:
            found = operator_times(trial.courses[0].job, session.settings.seed, session.bench.workers)
            if isinstance(found, Reason):
                trial.reasons.append(found)
            else:
                trial.operators = found
            advance(1, trial.artifact.name)


def report(session: Session, *, complete: bool) -> Report:
    """Return what was found so far, sealed."""
    source, evaluation, facts, settings = session.source, session.evaluation, session.facts, session.settings
    after = session.bench.state()
    entries = {entry.path: entry for entry in source.manifest.entries}
    artifacts = tuple(trial.report(entries[trial.artifact.path], settings.scenario) for trial in session.trials)
    predictions = evaluation.reference.argmax(axis=1)
    reference_top1 = float(np.mean(predictions == evaluation.labels))
    of_machine = conditions.machine_reasons(facts, source.manifest.target)
    of_run = of_machine + conditions.state_reasons(session.before, after)
    return seal(
        Report(
            bundle_id=source.id,
            bundle_name=source.manifest.name,
            bundle_size_bytes=None if session.host else source.size_bytes,
            target=source.manifest.target.name,
            created=session.created,
            edgepack=__version__,
            settings=settings,
            device=facts,
            before=session.before,
            after=after,
            labels=tuple(evaluation.labels.tolist()),
            reference_predictions=tuple(predictions.tolist()),
            artifacts=artifacts,
            fastest=fastest(artifacts, reference_top1, of_run, settings.minimise),
            reasons=of_run,
            complete=complete,
            packing=session.host.packing if session.host else None,
            inputs_sha256=entries[INPUTS].sha256,
            interleaved=session.interleaved,
            noise_floor=session.bench.floor(facts, settings.threads),
        )
    )


def chosen(manifest: Manifest, only: Sequence[str]) -> list[Artifact]:
    """Return the artifacts of these names, or all where there are none. Raises UsageError for one that is not there."""
    known = [artifact.name for artifact in manifest.artifacts]
    for name in only:
        if name not in known:
            advice = nearest(name, known) or f"one of {', '.join(known)}"
            raise UsageError(f"no artifact {name!r} in this bundle", where=manifest.name, advice=advice)
    return [artifact for artifact in manifest.artifacts if not only or artifact.name in only]
