"""What the record and the facts say of the figures, held against the reasons that are reported."""

from collections.abc import Iterable, Iterator

from runner.measure import conditions, latency
from runner.measure.disturbance import disturbances
from runner.measure.gpu import gpu_disturbances, gpu_reasons
from runner.reason import Reason
from runner.report import ArtifactReport, Latency, Report


def unsaid_of_run(report: Report) -> Iterator[str]:
    """Yield each reason that follows from the facts and the states of the machine, and is not reported.

    That the target is another machine's is not among them: a report has the target's name alone.
    """
    found = (*conditions.fact_reasons(report.device), *conditions.state_reasons(report.before, report.after))
    yield from _unsaid("reasons", found, report.reasons)


def unsaid_of_artifact(artifact: ArtifactReport, report: Report) -> Iterator[str]:
    """Yield each reason that follows from an artifact's processes and GPU, and is not reported where it belongs."""
    if artifact.runtime:
        found = gpu_reasons(artifact.runtime, report.device, report.before)
        yield from _unsaid(f"{artifact.name}: runtime", found, artifact.reasons)
    if artifact.latency:
        yield from _unsaid(f"{artifact.name}: latency", _of_processes(artifact.latency), artifact.reasons)
    for index, each in enumerate(artifact.scenarios):
        yield from _unsaid(f"{artifact.name}: scenarios[{index}]", _of_processes(each), each.reasons)


def _of_processes(reported: Latency) -> Iterator[Reason]:
    yield from latency.reasons(latency.timings(reported))
    yield from disturbances(reported.processes)
    yield from gpu_disturbances(reported.processes)


def _unsaid(path: str, found: Iterable[Reason], reported: Iterable[Reason]) -> Iterator[str]:
    levels: dict[str, set[str]] = {}
    for reason in reported:
        levels.setdefault(reason.code, set()).add(reason.level)
    for reason in found:
        said = levels.get(reason.code, set())
        if reason.level not in said:
            given = f"it is reported as {' and '.join(sorted(said))}" if said else "it is not reported"
            yield f"{path}: the record gives the reason {reason.code!r} ({reason.level}), and {given}: {reason.detail}"
