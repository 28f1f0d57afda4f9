"""What came of a board, and the exit code for several."""

from dataclasses import replace

import pytest

from packager.remote import failures
from packager.remote.result import BoardResult, exit_code, failure
from runner.compare import compare
from runner.compare.comparison import Limits
from runner.errors import RuntimeUnavailable
from tests import reports

DONE = BoardResult(name="pi", attempts=1, duration_s=1.0)
HELD = replace(DONE, comparison=compare(reports.host(), reports.board(), Limits(max_latency_ns=1e9)))
MISSED = replace(DONE, comparison=compare(reports.host(), reports.board(), Limits(max_latency_ns=1.0)))


def failed(code: int) -> BoardResult:
    return replace(DONE, exit_code=code)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ((DONE,), 0),
        ((DONE, HELD), 0),
        ((HELD, MISSED), 1),
        ((MISSED, failed(4)), 4),
        ((DONE, failed(5)), 5),
        ((failed(4), failed(4), DONE), 4),
        ((failed(3), failed(4)), 5),
        ((failed(130), failed(130)), 130),
        ((failed(130), DONE), 130),
        ((failed(130), failed(4), failed(5)), 130),
    ],
)
def test_the_exit_code_is_what_they_failed_with_or_whether_a_limit_was_missed(
    results: tuple[BoardResult, ...], code: int
) -> None:
    assert exit_code(results) == code


def test_an_error_becomes_a_part_of_the_result() -> None:
    found = failure(RuntimeUnavailable("no numpy", where="pi", advice="pip install numpy"))
    assert (found.what, found.advice, found.exit_code) == ("no numpy", "pip install numpy", 4)
    assert failure(failures.Changed("x")).exit_code == 3
