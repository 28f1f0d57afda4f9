"""What is found of one artifact as a run goes on, and which artifact is the fastest whose answers hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from runner.device.forecast import Forecast
from runner.manifest import Artifact, Entry
from runner.measure import latency
from runner.measure.answers import Answers, Subject
from runner.measure.disturbance import disturbances
from runner.measure.gpu import gpu_disturbances
from runner.measure.latency import Timings
from runner.measure.rounds import Course
from runner.operators import OperatorTime
from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, EnergyUse, Expectation, Latency, Scenario

MOST_TOP1_DROP = 0.01
"""By how much an artifact's top-1 may lie below that of the host's fp32 model for its answers to hold."""
MOST_FLIPS = 0.01
"""The share of samples that it may answer otherwise than it did on the host."""
ROUNDING = 1e-9

INTERRUPTED = Reason(code="interrupted", level="note", detail="the run was interrupted before this was measured")


@dataclass(kw_only=True, slots=True)
class Trial:
    """What has been found of one artifact so far: the one record here that grows, so that Ctrl-C loses nothing."""

    artifact: Artifact
    subject: Subject | None = None
    answers: Answers | None = None
    accuracy: Accuracy | None = None
    expected: Forecast | None = None
    """What was told of it before it was run."""
    unavailable: bool = False
    """Nothing here can run it."""
    courses: list[Course] = field(default_factory=list)
    """One for each scenario in which its time is to be taken."""
    energy: tuple[EnergyUse, ...] = ()
    operators: tuple[OperatorTime, ...] = ()
    reasons: list[Reason] = field(default_factory=list)

    def report(self, entry: Entry, first: Scenario) -> ArtifactReport:
        """Return what was found, as it stands in a report: the latency of the `first` scenario before all others."""
        timings = {course.scenario: course.timings() for course in self.courses}.get(first, Timings(scenario=first))
        return ArtifactReport(
            name=self.artifact.name,
            title=self.artifact.title,
            precision=self.artifact.precision,
            format=self.artifact.format,
            sha256=entry.sha256,
            size_bytes=entry.size_bytes,
            runtime=self.answers.runtime if self.answers else None,
            expected=_expectation(self.expected) if self.expected else None,
            accuracy=self.accuracy,
            latency=latency.latency(timings),
            scenarios=tuple(self._scenarios(first)),
            peak_bytes=latency.peak_bytes(timings.processes),
            energy=self.energy,
            operators=self.operators,
            reasons=(*(self.expected.reasons if self.expected else ()), *self.reasons, *self._timing_reasons(first)),
        )

    def _scenarios(self, first: Scenario) -> Iterator[Latency]:
        for course in self.courses:
            found = latency.latency(course.timings())
            if course.scenario != first and found is not None:
                yield replace(found, reasons=tuple(_reasons(course)))

    def _timing_reasons(self, first: Scenario) -> Iterator[Reason]:
        """Yield what is to be said of the first scenario, and of others that have no figures to say it of."""
        begun = [course for course in self.courses if course.processes or course.failures]
        for course in begun:
            if course.scenario == first:
                yield from _reasons(course)
            elif not course.processes:
                for reason in _reasons(course):
                    yield replace(reason, level="caveat", detail=f"{course.scenario.words}: {reason.detail}")
        if len(begun) < len(self.courses) or not (self.courses or self.reasons):
            yield INTERRUPTED


def _reasons(course: Course) -> Iterator[Reason]:
    yield from latency.reasons(course.timings())
    yield from disturbances(course.processes)
    yield from gpu_disturbances(course.processes)
    if course.changed:
        yield course.changed


def _expectation(found: Forecast) -> Expectation:
    speedup = found.speedup
    return Expectation(
        kernel=found.kernel,
        least_speedup=speedup.low if speedup else None,
        most_speedup=speedup.high if speedup else None,
        evidence=speedup.evidence if speedup else "",
    )


def fastest(reports: Sequence[ArtifactReport], reference_top1: float, run: Iterable[Reason]) -> str | None:
    """Return the artifact with the lowest median latency among those whose answers hold, if there is one.

    None is where any reason that concerns the whole `run` voids its figures.
    """
    if any(reason.level == "invalid" for reason in run):
        return None
    latencies = dict(_latencies(reports, reference_top1))
    return min(latencies, key=lambda name: latencies[name].median_ns, default=None)


def as_fast(reports: Sequence[ArtifactReport], reference_top1: float, name: str) -> tuple[str, ...]:
    """Return the others whose answers hold, as those of `name` do, and whose interval of the median overlaps its."""
    latencies = dict(_latencies(reports, reference_top1))
    fastest = latencies.pop(name, None)
    if fastest is None:
        return ()
    interval = fastest.interval
    return tuple(
        other
        for other, latency in latencies.items()
        if latency.interval.low <= interval.high and interval.low <= latency.interval.high
    )


def _latencies(reports: Sequence[ArtifactReport], reference_top1: float) -> Iterator[tuple[str, Latency]]:
    for report in reports:
        if report.latency and holds(report, reference_top1):
            yield report.name, report.latency


def holds(report: ArtifactReport, reference_top1: float) -> bool:
    """Say whether an artifact may be recommended: near the fp32 model, near the host's answers, nothing void."""
    found = report.accuracy
    return (
        found is not None
        and found.top1 >= reference_top1 - MOST_TOP1_DROP - ROUNDING
        and len(found.flips) <= MOST_FLIPS * found.samples
        and not any(reason.level == "invalid" for reason in report.reasons)
    )
