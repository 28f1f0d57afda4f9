"""Load a bundle to use it: the fastest of its artifacts that is right on this machine."""

import tempfile
from collections.abc import Iterable
from pathlib import Path

from runner import device, install
from runner.bundle import Bundle, open_bundle
from runner.device import topology
from runner.device.obstacle import obstacle
from runner.errors import EdgepackError, MeasurementError, RuntimeUnavailable, UsageError, first_line
from runner.facts import DeviceFacts
from runner.loading.choice import Choice, PassedOver
from runner.loading.classifier import Classifier, classifier
from runner.loading.preference import Preference, preference
from runner.loading.proof import hold
from runner.loading.ranking import Candidate, ranking
from runner.loading.trial import outlive
from runner.options import make_options
from runner.report import Report
from runner.runtimes import Session, load_runtime


def load(path: str | Path, *, prefer: str | Path | Report | None = None, threads: int | None = None) -> Classifier:
    """Return the fastest verified artifact, as `runner.load` says it."""
    if threads is not None and threads < 1:
        raise UsageError(f"threads: expected 1 or more, got {threads}", where=str(path))
    bundle = open_bundle(Path(path))
    wanted = preference(bundle, prefer)
    return first_that_holds(bundle, wanted, threads or wanted.threads or topology.default_threads(), device.facts())


def first_that_holds(bundle: Bundle, wanted: Preference, threads: int, facts: DeviceFacts) -> Classifier:
    """Load one artifact after the other until one runs and answers as it did on the host."""
    passed_over: list[PassedOver] = []
    for candidate in ranking(bundle, wanted, facts):
        name = candidate.artifact.name
        try:
            hold_runnable(candidate, facts)
            session = proven(bundle, candidate, threads)
        except (RuntimeUnavailable, MeasurementError) as error:
            passed_over.append(PassedOver(name=name, error=error))
            continue
        choice = Choice(
            name=name, reason=candidate.reason, passed_over=tuple(passed_over), advice=candidate.advice, threads=threads
        )
        return classifier(bundle, candidate.artifact, session, choice)
    raise _nothing(bundle, passed_over)


def hold_runnable(candidate: Candidate, facts: DeviceFacts) -> None:
    """Raise RuntimeUnavailable where this machine cannot run an artifact, and MeasurementError where nobody should."""
    if candidate.refused:
        raise MeasurementError(candidate.refused)
    reason = obstacle(candidate.artifact, facts, install.here(cuda=bool(facts.cuda)), stand_in=False)
    if reason:
        raise RuntimeUnavailable(reason.detail, advice=reason.advice)


def proven(bundle: Bundle, candidate: Candidate, threads: int) -> Session:
    """Return a session that has answered some samples as the host did, in a worker before where nobody knows.

    Raises RuntimeUnavailable and MeasurementError.
    """
    artifact = candidate.artifact
    options = make_options(artifact, bundle.manifest.target, threads)
    # The file goes as soon as the session has answered: nothing is left behind, however the program ends.
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        file = bundle.extract(artifact.path, Path(folder))
        if not candidate.ran_here:
            outlive(bundle, artifact, file, options)
        try:
            session = load_runtime(artifact.format).load(file, options)
            hold(bundle, artifact, session)
        except EdgepackError:
            raise
        except Exception as error:  # noqa: BLE001 - runtimes raise what they like, and the next artifact may run
            raise RuntimeUnavailable(f"its runtime fails here: {first_line(error)}") from None
    return session


def _nothing(bundle: Bundle, passed_over: Iterable[PassedOver]) -> EdgepackError:
    """Return why no artifact can be used: those that run and answer otherwise weigh more than what is missing."""
    found = tuple(passed_over)
    what = "; ".join(each.line for each in found)
    advice = next((each.error.advice for each in found if each.error.advice), "")
    if all(isinstance(each.error, RuntimeUnavailable) for each in found):
        what = f"nothing here can run any of the artifacts: {what}"
        return RuntimeUnavailable(what, where=str(bundle.path), advice=advice)
    what = f"no artifact that runs here answers as it did on the host: {what}"
    return MeasurementError(what, where=str(bundle.path), advice=advice or "pack it again for this machine")
