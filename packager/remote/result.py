"""What came of a board: its report and what follows from it, or why there is none."""

from collections.abc import Iterable
from dataclasses import dataclass

from packager.explain import Divergence
from runner.compare.comparison import Comparison
from runner.edge import INTERRUPTED
from runner.errors import LIMIT_MISSED, EdgepackError, MeasurementError
from runner.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why a board did not do its part."""

    what: str
    advice: str
    exit_code: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardResult:
    """One board's part of `pack bench`."""

    name: str
    attempts: int
    duration_s: float
    copied: bool = False
    """Whether the bundle had to be sent: it may have been there from an earlier run."""
    report: Report | None = None
    report_file: str = ""
    comparison: Comparison | None = None
    """With the host report of the bundle; None also where it has none."""
    divergences: tuple[Divergence, ...] | None = None
    """Of each artifact that answers otherwise than on the host; None where that was not asked for."""
    failure: Failure | None = None
    """Of the last attempt; a report may be there all the same, of a run that did not come to its end."""
    exit_code: int = 0
    """What `bench-runner` would have ended with there, or the failure's."""


def failure(error: EdgepackError) -> Failure:
    """Return an error as a part of a result."""
    return Failure(what=error.what, advice=error.advice, exit_code=error.exit_code)


def exit_code(results: Iterable[BoardResult]) -> int:
    """Return the exit code for several boards: what they failed with, or 1 where all have reported and miss a limit.

    Boards that failed in different ways are, taken together, a measurement that failed; after Ctrl-C it was that.
    """
    together = tuple(results)
    failed = {result.exit_code for result in together if result.exit_code}
    if INTERRUPTED in failed:
        return INTERRUPTED
    if failed:
        return failed.pop() if len(failed) == 1 else MeasurementError.exit_code
    return LIMIT_MISSED if any(result.comparison and result.comparison.violated for result in together) else 0
