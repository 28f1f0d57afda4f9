"""Progress on a stream: a bar where somebody looks, lines where nobody does."""

import io
from collections.abc import Iterator

import pytest

from runner.terminal import CLEAR_LINE, Task, Terminal, bar_line


class Screen(io.StringIO):
    """A stream that claims to be a terminal."""

    def isatty(self) -> bool:
        """Claim it."""
        return True


def ticking(step_s: float) -> Iterator[float]:
    """Yield the readings of a clock that is read once every `step_s`."""
    now_s = 0.0
    while True:
        yield now_s
        now_s += step_s


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test the same terminal."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")


def test_off_a_terminal_only_lines_that_stay_are_shown() -> None:
    stream = io.StringIO()
    progress = Terminal(stream)
    with progress.task("training", 3) as advance:
        advance()
        progress.say("epoch 1: loss 0.5")
    assert stream.getvalue() == "epoch 1: loss 0.5\n"


def test_off_a_terminal_long_work_says_now_and_then_how_far_it_is() -> None:
    stream, now_s = io.StringIO(), 0.0
    progress = Terminal(stream, clock=lambda: now_s)
    with progress.task("timing", 50) as advance:
        for _ in range(9):
            now_s += 10
            advance()
        progress.say("a word in between")
        now_s += 29
        advance()
    assert stream.getvalue().splitlines() == [
        "timing: 3 of 50, 7:50 left",
        "timing: 6 of 50, 7:20 left",
        "timing: 9 of 50, 6:50 left",
        "a word in between",
    ]


def test_a_dumb_terminal_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen = Screen()
    with Terminal(screen).task("training", 3) as advance:
        advance()
    assert screen.getvalue() == ""


def test_a_bar_is_drawn_over_itself_and_gone_at_the_end() -> None:
    screen = Screen()
    readings = ticking(1)
    with Terminal(screen, clock=lambda: next(readings)).task("training", 4) as advance:
        advance(2, "loss 0.5")
    drawn = screen.getvalue().split(CLEAR_LINE)
    assert drawn[1] == "training  ╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  0/4  0 %"
    assert drawn[2] == "training  ━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  2/4  50 %  1.5 s each  0:03 left  loss 0.5"
    assert drawn[3:] == [""]


def test_a_bar_is_drawn_ten_times_a_second_at_most() -> None:
    screen = Screen()
    readings = ticking(0.001)
    with Terminal(screen, clock=lambda: next(readings)).task("timing", 1000) as advance:
        for _ in range(1000):
            advance()
    assert 5 <= screen.getvalue().count("timing") <= 20


def test_a_line_is_said_above_the_bar() -> None:
    screen = Screen()
    progress = Terminal(screen)
    with progress.task("training", 2):
        progress.say("looking in data")
    assert f"{CLEAR_LINE}looking in data\n{CLEAR_LINE}training" in screen.getvalue()


def test_the_outer_task_comes_back_when_the_inner_one_ends() -> None:
    screen = Screen()
    progress = Terminal(screen)
    with progress.task("outer", 2):
        with progress.task("inner", 2):
            pass
        assert screen.getvalue().split(CLEAR_LINE)[-1].startswith("outer")
    assert screen.getvalue().endswith(CLEAR_LINE)


def test_the_bar_is_gone_after_an_interruption() -> None:
    screen = Screen()
    progress = Terminal(screen)
    with pytest.raises(KeyboardInterrupt), progress.task("training", 2):
        raise KeyboardInterrupt
    assert screen.getvalue().endswith(CLEAR_LINE)


def test_a_bar_never_exceeds_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    with Terminal(screen).task("a long title of a long task", 2):
        pass
    assert {len(line) for line in screen.getvalue().split(CLEAR_LINE) if line} == {19}


@pytest.mark.parametrize(
    ("task", "shown"),
    [
        (Task(title="t", total=0, started_s=0), "t  ━━━━━━━━━━━━━━━━━━━━━━━━  0/0  100 %"),
        (
            Task(title="t", total=2, started_s=0, done=3),
            "t  ━━━━━━━━━━━━━━━━━━━━━━━━  3/2  100 %  2,400.0 s each  0:00 left",
        ),
        (
            Task(title="t", total=9000, started_s=7000, done=4500),
            "t  ━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  4500/9000  50 %  22.5/s  3:20 left",
        ),
        (
            Task(title="t", total=4, started_s=0, done=1),
            "t  ━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌  1/4  25 %  7,200.0 s each  6:00:00 left",
        ),
    ],
)
def test_rate_and_time_left_follow_from_what_was_done(task: Task, shown: str) -> None:
    assert bar_line(task, 7200) == shown
