"""What is found of one artifact as a run goes on, and which artifact is the fastest whose answers hold."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from runner.manifest import Artifact, Entry
from runner.measure import latency
from runner.measure.answers import Answers, Subject
from runner.process import Process
from runner.report import Accuracy, ArtifactReport, Reason

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
    to_time: bool = False
    unavailable: bool = False
    """Nothing here can run it."""
    processes: list[Process] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)

    def report(self, entry: Entry, batch: int) -> ArtifactReport:
        """Return what was found, as it stands in a report."""
        return ArtifactReport(
            name=self.artifact.name,
            title=self.artifact.title,
            precision=self.artifact.precision,
            format=self.artifact.format,
            sha256=entry.sha256,
            size_bytes=entry.size_bytes,
            runtime=self.answers.runtime if self.answers else None,
            accuracy=self.accuracy,
            latency=latency.latency(self.processes, self.failures, batch),
            peak_bytes=latency.peak_bytes(self.processes),
            reasons=tuple(self.reasons) + self._timing_reasons(),
        )

    def _timing_reasons(self) -> tuple[Reason, ...]:
        if self.to_time and (self.processes or self.failures):
            return latency.reasons(self.processes, self.failures)
        return (INTERRUPTED,) if self.to_time or not self.reasons else ()


def fastest(reports: Sequence[ArtifactReport], reference_top1: float) -> str | None:
    """Return the artifact with the lowest median latency among those whose answers hold, if there is one."""
    medians = {
        report.name: report.latency.median_ns for report in reports if report.latency and holds(report, reference_top1)
    }
    return min(medians, key=lambda name: medians[name], default=None)


def holds(report: ArtifactReport, reference_top1: float) -> bool:
    """Say whether an artifact may be recommended: near the fp32 model, near the host's answers, nothing void."""
    found = report.accuracy
    return (
        found is not None
        and found.top1 >= reference_top1 - MOST_TOP1_DROP - ROUNDING
        and len(found.flips) <= MOST_FLIPS * found.samples
        and not any(reason.level == "invalid" for reason in report.reasons)
    )
