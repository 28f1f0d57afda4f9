"""What a program prefers: an artifact by its name, or the choice that stands in a report."""

from dataclasses import dataclass
from pathlib import Path

from runner import report, report_reader
from runner.bundle import Bundle
from runner.errors import ReportError, UsageError, nearest
from runner.report import Report

SUFFIX = ".json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Preference:
    """At most one of the two."""

    name: str | None = None
    """Of an artifact of the bundle."""
    report: Report | None = None
    """Of the bundle."""
    source: str = ""
    """What the report is called."""

    @property
    def threads(self) -> int | None:
        """Those that the report's choice was measured with."""
        return self.report.settings.threads if self.report else None


def preference(bundle: Bundle, prefer: str | Path | Report | None) -> Preference:
    """Return what is meant. Raises UsageError for what is neither, and ReportError for a report of another bundle."""
    if prefer is None:
        return Preference()
    if isinstance(prefer, Report):
        if report.seal(prefer).digest != prefer.digest:
            what = "its digest does not fit its content: it was altered after it was measured"
            advice = "runner.report_reader.load, or measure again with `bench-runner`"
            raise ReportError(what, where="prefer", advice=advice)
        return _of_report(bundle, prefer, "the report")
    if isinstance(prefer, str) and bundle.manifest.artifact(prefer):
        return Preference(name=prefer)
    path = Path(prefer)
    if path.suffix != SUFFIX and not path.is_file():
        known = [artifact.name for artifact in bundle.manifest.artifacts]
        what = f"{str(prefer)!r} is neither an artifact of this bundle nor the file of a report"
        raise UsageError(what, where="prefer", advice=nearest(str(prefer), known) or f"one of {', '.join(known)}")
    return _of_report(bundle, report_reader.load_summary(path), str(path))


def _of_report(bundle: Bundle, found: Report, source: str) -> Preference:
    if found.bundle_id != bundle.id:
        what = f"is a report of another bundle ({found.bundle_name} for {found.target})"
        raise ReportError(what, where=source, advice=f"bench-runner {bundle.path} -o report.json")
    return Preference(report=found, source=source)
