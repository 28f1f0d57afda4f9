"""Reports, read from text and from files: held against their digest, or without the record that takes most of it."""

from pathlib import Path

from runner import codec
from runner.errors import ReportError
from runner.report import SCHEMA, Report

OWN_KEYS = frozenset({"schema", "settings", "artifacts"})
"""Without these a document is another one, and no damaged report."""
RECORD = frozenset(
    {"warmup_ns", "samples_ns", "device_ns", "machine", "others", "predictions", "label_ranks", "losses"}
)
"""What is taken or answered again and again: nearly all of a report, and nothing that a choice is made by."""
ADVICE = "name a report that `bench-runner BUNDLE` has written"


def read(text: str | bytes, source: str) -> Report:
    """Read a report and hold it against its digest; `source` names it in errors. Raises ReportError."""
    found = _understood(text, source)
    _hold_digest(text, found, source)
    return found


def read_summary(text: str | bytes, source: str) -> Report:
    """Read a report without its record, in a tenth of the memory. Raises ReportError.

    Its digest, which is of the record too, is not held: for a text that is known to be whole.
    """
    return _understood(text, source, without=RECORD)


def load(path: Path) -> Report:
    """Read a report file. Raises ReportError."""
    return read(_bytes(path), str(path))


def load_summary(path: Path) -> Report:
    """Read a report file without its record, and hold the file against its digest. Raises ReportError."""
    text, source = _bytes(path), str(path)
    found = read_summary(text, source)
    _hold_digest(text, found, source)
    return found


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ReportError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _understood(text: str | bytes, source: str, without: frozenset[str] = codec.NOTHING_LEFT_OUT) -> Report:
    try:
        return codec.read_versioned(Report, text, SCHEMA, without=without)
    except codec.InvalidDocumentError as error:
        keys = codec.keys(text)
        if keys is not None and not keys >= OWN_KEYS:
            raise ReportError(f"is no report: {error.problems[0]}", where=source, advice=ADVICE) from None
        raise ReportError(str(error), where=source) from None


def _hold_digest(text: str | bytes, found: Report, source: str) -> None:
    if codec.sealed_digest(text, "digest") != found.digest:
        raise ReportError(
            "its digest does not fit its content: it was altered or damaged after it was written",
            where=source,
            advice="measure again with `bench-runner`",
        )
