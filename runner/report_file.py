"""Where a report is written, on the way and at the end: one that is whole never gives way to part of another."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from runner import atomic, codec, report_reader
from runner.errors import EdgepackError, ReportError
from runner.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportFile:
    """A report's place, and that of what there is of it before it is whole."""

    whole: Path
    part: Path
    """The same place, unless something is there that is worth keeping until then."""

    def keep(self, so_far: Report) -> None:
        """Write what there is so far. What the disk refuses now is told at the end, when there is more to lose."""
        with contextlib.suppress(EdgepackError):
            atomic.write(self.part, codec.write_json(so_far))

    def write(self, found: Report) -> Path:
        """Write a report, and return where it is. Raises EdgepackError where the disk refuses it."""
        file = self.whole if found.complete else self.part
        atomic.write(file, codec.write_json(found))
        if file != self.part:
            self.part.unlink(missing_ok=True)
        return file


def report_file(path: Path) -> ReportFile:
    """Return where the report that is asked for at `path` goes. Raises UsageError where it cannot be written."""
    atomic.check_destination(path)
    part = path.with_name(f"{path.stem}.partial{path.suffix}") if path.exists() and not _is_part(path) else path
    return ReportFile(whole=path, part=part)


def _is_part(path: Path) -> bool:
    try:
        return not report_reader.load(path).complete
    except ReportError:
        return False
