"""What is found of one artifact as a run goes on."""

from collections.abc import Iterator
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
