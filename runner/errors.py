"""The error tree. Each class has one exit code; each message says what is wrong, where, and what to do next.

EdgepackError
├── UsageError            2   an option, a recipe or a target that cannot be meant
├── DocumentError         3   a bundle or a report that cannot be trusted
│   ├── BundleError
│   └── ReportError
├── RuntimeUnavailable    4   nothing here can run the artifact
├── MeasurementError      5   a measurement failed or is not valid
└── StepError             6   a step of `pack` failed

Exit code 1 belongs to no error: it says that a stated limit was missed.
"""

import difflib
from collections.abc import Iterable
from typing import TypeVar

LIMIT_MISSED = 1
E = TypeVar("E", bound=BaseException)


class EdgepackError(Exception):
    """Report a problem to the user: `what` happened, `where`, and the `advice` that leads on."""

    exit_code = 5

    def __init__(self, what: str, *, where: str = "", advice: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n  try: {self.advice}" if self.advice else ""
        return f"{place}{self.what}{hint}"


class UsageError(EdgepackError):
    """An option, a recipe or a target file that cannot be meant."""

    exit_code = 2


class DocumentError(EdgepackError):
    """A document that cannot be trusted."""

    exit_code = 3


class BundleError(DocumentError):
    """A bundle that is damaged, forged, or of another version."""


class ReportError(DocumentError):
    """A report that is damaged, altered, or of another version."""


class RuntimeUnavailable(EdgepackError):  # noqa: N818 - a state of the machine, named as the exit code's table names it
    """Nothing on this machine can run the artifact."""

    exit_code = 4


class MeasurementError(EdgepackError):
    """A measurement that failed, or whose result is not valid."""

    exit_code = 5


class StepError(EdgepackError):
    """A step of `pack` that failed."""

    exit_code = 6


def said(error: BaseException) -> str:
    """Return the first line of what a library raised, or its type where it says nothing."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def first_line(error: BaseException) -> str:
    """Return `Type: first line` of what a library raised: its pages belong into EDGEPACK_DEBUG, not into a message."""
    name, words = type(error).__name__, said(error)
    return name if words == name else f"{name}: {words}"


def innermost(error: E, kind: type[E]) -> E:
    """Return the error of a kind that others of it were raised from, one around the other."""
    while isinstance(error.__cause__, kind):
        error = error.__cause__
    return error


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return `did you mean 'x'?` for the choice nearest to `word`, or an empty string when none is near."""
    found = difflib.get_close_matches(word, list(choices), n=1)
    return f"did you mean {found[0]!r}?" if found else ""
