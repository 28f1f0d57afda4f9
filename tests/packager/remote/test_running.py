"""What the runner on a board ended with, as an error here."""

import signal

import pytest

from packager.remote.running import Ended


@pytest.mark.parametrize(
    ("code", "said"), [(130, ("interrupted",)), (-signal.SIGINT, ("Traceback:", "KeyboardInterrupt"))]
)
def test_a_run_that_was_asked_to_end_was_interrupted_however_far_it_was(code: int, said: tuple[str, ...]) -> None:
    error = Ended(exit_code=code, said=said).error("pi")
    assert (error.where, error.what, error.exit_code) == ("pi", "interrupted", 130)


def test_the_runner_s_own_words_are_the_error() -> None:
    error = Ended(exit_code=4, said=("x", "error: no runtime", "  try: pip install numpy")).error("pi")
    assert (error.what, error.advice, error.exit_code) == ("no runtime", "pip install numpy", 4)


def test_a_run_that_says_nothing_is_told_by_how_it_ended() -> None:
    killed = Ended(exit_code=-signal.SIGKILL, said=()).error("pi")
    assert killed.what == "the run there was ended by SIGKILL, as Linux does where memory runs out, and said nothing"
    assert Ended(exit_code=7, said=("what",)).error("pi").what == "the run there ended with 7, and said what"
