"""Measure what is in a bundle: first the answers of every artifact, then the time that each takes."""

import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.bundle import INPUTS, LABELS, Bundle
from runner.errors import BundleError, UsageError
from runner.measure import answering
from runner.measure import session as sessions
from runner.measure.rounds import Course, time_in_rounds
from runner.measure.session import Bench, Host, Session
from runner.progress import Progress, Silent
from runner.reason import Reason
from runner.report import Report, Settings

__all__ = ["Bench", "Host", "one_course", "run", "run_in_turn"]


def run(
    source: Bundle,
    settings: Settings,
    *,
    only: Sequence[str] = (),
    host: Host | None = None,
    progress: Progress = Silent(),  # noqa: B008 - has no state
    bench: Bench = Bench(),  # noqa: B008 - as above
) -> Report:
    """Measure the artifacts of a bundle, or `only` those named.

    After Ctrl-C the report has what was finished by then, and says so; `bench.save` is given such a report whenever one
    more artifact has been answered or timed.
    Raises UsageError, BundleError, and RuntimeUnavailable where no artifact at all can be run here.
    """
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        session = sessions.begin(
            source, settings, only=only, progress=progress, bench=bench, folder=Path(folder), host=host
        )
        complete = _measure([session], lambda: bench.save(sessions.report(session, complete=False)))
    return sessions.report(session, complete=complete)


def run_in_turn(
    sources: tuple[Bundle, Bundle],
    settings: Settings,
    *,
    only: Sequence[str] = (),
    progress: Progress = Silent(),  # noqa: B008 - has no state
    bench: Bench = Bench(),  # noqa: B008 - as above
    save: Callable[[tuple[Report, Report]], None] = lambda _: None,
) -> tuple[Report, Report]:
    """Measure two bundles in one session: in every round a process of both of each artifact that both have.

    After Ctrl-C the reports have what was finished by then; `save` is given such a pair as `bench.save` is in `run`.
    Raises as `run` does, UsageError where no artifact of both has one name, and BundleError where the two are not of
    the same evaluation samples.
    """
    _check_samples(*sources)
    only = only or _in_both(*sources, progress)
    common = uuid.uuid4().hex
    with tempfile.TemporaryDirectory(prefix="edgepack-") as one, tempfile.TemporaryDirectory(prefix="edgepack-") as two:
        first, second = (
            sessions.begin(
                source,
                settings,
                only=only,
                progress=progress,
                bench=bench,
                folder=Path(folder),
                interleaved=common,
            )
            for source, folder in zip(sources, (one, two), strict=True)
        )
        complete = _measure([first, second], lambda: save(_pair(first, second, complete=False)))
    return _pair(first, second, complete=complete)


@contextmanager
def one_course(source: Bundle, name: str | None, settings: Settings, progress: Progress) -> Iterator[Course]:
    """Answer one artifact, by default of those that run here the one that was fastest on the host, and yield it.

    Raises UsageError, BundleError, RuntimeUnavailable, and MeasurementError where its answers are void.
    """
    host = source.host_report()
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        only = [name] if name else []
        session = sessions.begin(source, settings, only=only, progress=progress, bench=Bench(), folder=Path(folder))
        yield answering.first_course(session, host.fastest if host else None)


def _pair(first: Session, second: Session, *, complete: bool) -> tuple[Report, Report]:
    return sessions.report(first, complete=complete), sessions.report(second, complete=complete)


def _in_both(first: Bundle, second: Bundle, progress: Progress) -> Sequence[str]:
    """Return the names of the artifacts that two bundles share, and tell of the others, which nothing is held to."""
    ours, theirs = ([artifact.name for artifact in source.manifest.artifacts] for source in (first, second))
    shared = [name for name in ours if name in theirs]
    if not shared:
        raise UsageError(
            f"no artifact of {first.path} has its name here: {', '.join(ours)} there, {', '.join(theirs)} here",
            where=str(second.path),
            advice="pack both with artifacts of the same names",
        )
    for source, names in ((first, ours), (second, theirs)):
        alone = [name for name in names if name not in shared]
        if alone:
            progress.say(
                f"left out, for only {source.path} has {'them' if len(alone) > 1 else 'it'}: {', '.join(alone)}"
            )
    return shared


def _leave_out_what_is_alone(first: Session, second: Session) -> None:
    """Time nothing whose counterpart in the other bundle cannot be timed."""
    ours, theirs = ({(course.name, course.scenario) for course in each.courses} for each in (first, second))
    for trial in (*first.trials, *second.trials):
        paired = [course for course in trial.courses if (course.name, course.scenario) in ours & theirs]
        if len(paired) < len(trial.courses):
            trial.courses = paired
            detail = "its time was not taken, for that in the other bundle cannot be"
            trial.reasons.append(Reason(code="no-counterpart", level="note", detail=detail))


def _check_samples(first: Bundle, second: Bundle) -> None:
    """Refuse, before long work, two bundles whose reports could not be compared after it."""
    ours, theirs = (
        {entry.path: entry.sha256 for entry in source.manifest.entries if entry.path in {INPUTS, LABELS}}
        for source in (first, second)
    )
    if ours != theirs:
        raise BundleError(
            f"was packed with other evaluation samples than {first.path}: nothing could be compared",
            where=str(second.path),
            advice="pack both with the same data",
        )


def _measure(together: Sequence[Session], keep: Callable[[], None]) -> bool:
    """Fill in the sessions, and say whether that came to its end; what there is by then is kept from time to time."""
    first = together[0]
    plan, bench = first.bench.plans[first.settings.effort], first.bench
    # Now, for the temperature to come back to is that of before the answers, which warm the machine.
    tools = bench.instruments(bench.workers)
    try:
        sessions.warn(first)
        for session in together:
            answering.answer_all(session, keep)
        if len(together) > 1:
            _leave_out_what_is_alone(*together)
        courses = [course for session in together for course in session.courses]
        with first.progress.task("timing", plan.processes * len(courses)) as advance:
            time_in_rounds(courses, plan, first.settings.seed, tools, advance, _seldom(keep, bench.save_every_s))
        for session in together:
            sessions.measure_energy(session)
            sessions.profile_operators(session)
    except KeyboardInterrupt:
        return False
    return True


def _seldom(keep: Callable[[], None], every_s: float) -> Callable[[], None]:
    """Return what keeps only where the last time is so long ago."""
    kept_s = time.monotonic()

    def call() -> None:
        nonlocal kept_s
        if time.monotonic() - kept_s >= every_s:
            keep()
            kept_s = time.monotonic()

    return call
