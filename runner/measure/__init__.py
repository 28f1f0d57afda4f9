"""Measure what is in a bundle: first the answers of every artifact, then the time that each takes."""

import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.bundle import INPUTS, LABELS, Bundle
from runner.errors import BundleError
from runner.measure import session as sessions
from runner.measure.rounds import Course, time_in_rounds
from runner.measure.session import Bench, Host, Session
from runner.progress import Progress, Silent
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
    """Measure two bundles in one session: in every round a process of each artifact of both.

    After Ctrl-C the reports have what was finished by then; `save` is given such a pair as `bench.save` is in `run`.
    Raises as `run` does, and BundleError where the two are not of the same evaluation samples.
    """
    _check_samples(*sources)
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
        yield sessions.first_course(session, host.fastest if host else None)


def _pair(first: Session, second: Session, *, complete: bool) -> tuple[Report, Report]:
    return sessions.report(first, complete=complete), sessions.report(second, complete=complete)


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
    courses = list[Course]()
    plan, bench = first.bench.plans[first.settings.effort], first.bench
    # Now, for the temperature to come back to is that of before the answers, which warm the machine.
    tools = bench.instruments(bench.workers)
    try:
        sessions.warn(first)
        for session in together:
            sessions.answer_all(session, keep)
            courses += session.courses
        with first.progress.task("timing", plan.processes * len(courses)) as advance:
            time_in_rounds(courses, plan, first.settings.seed, tools, advance, keep)
        for session in together:
            sessions.measure_energy(session)
            sessions.profile_operators(session)
    except KeyboardInterrupt:
        return False
    return True
