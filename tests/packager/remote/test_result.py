"""What several boards end with, together."""

import pytest

from packager.remote.result import BoardResult, exit_code


@pytest.mark.parametrize(
    ("codes", "together"),
    [
        ((), 0),
        ((0, 0), 0),
        ((0, 4), 4),
        ((4, 4), 4),
        ((3, 4), 5),
        ((0, 130), 130),
        ((130, 4, 5), 130),
    ],
)
def test_the_exit_code_is_what_the_boards_failed_with(codes: tuple[int, ...], together: int) -> None:
    boards = [BoardResult(name="pi", attempts=1, duration_s=0.0, exit_code=code) for code in codes]
    assert exit_code(boards) == together
