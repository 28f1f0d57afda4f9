"""How the work on several boards is shown."""

import io
import re

import pytest
from rich.console import Console

from packager.remote import display
from packager.remote.display import Live, Named
from tests.fakes import RecordingProgress


def test_lines_in_a_log_have_their_board_s_name() -> None:
    log = RecordingProgress()
    named = Named(log)
    with named.board("pi5") as five, named.board("pi4") as four:
        with five.task("copy", 100) as advance:
            advance(60, "a note")
            four.say("another")
            advance(40)
        named.say("of none in particular")
    assert log.said == ["pi5: copy", "pi4: another", "of none in particular"]


def test_a_long_task_in_a_log_tells_now_and_then_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "REMIND_S", 0.0)
    log = RecordingProgress()
    with Named(log).board("pi5") as board, board.task("copy", 100) as advance:
        advance(100)
    assert log.said == ["pi5: copy", "pi5: copy: 100 of 100, 0:00 left"]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100, height=20, color_system=None)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_screen(console: Console) -> list[str]:
    """Return what remains of all that was written, once each escape has done what it does."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", written(console)):
        if token == "\n":
            row += 1
            lines.extend([""] * (row + 1 - len(lines)))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(re.sub(r"\D", "", token) or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith("\x1b") and token != "\r":
            lines[row] += token
    return [line.rstrip() for line in lines if line.strip()]


def test_each_board_has_a_line_that_moves_with_its_name_its_task_and_its_share() -> None:
    console = terminal()
    live = Live(console)
    with live.board("pi5") as five, live.board("pi4") as four, five.task("copy", 200) as advance:
        advance(50)
        advance(50, "half")
        with four.task("timing", 0) as other:
            other()
        live._bars.refresh()
        lines = last_screen(console)
    assert any(re.search(r"^pi5 copy .* 50 % 0:00:0\d half$", line) for line in lines), lines
    assert any(re.search(r"^pi4 timing ", line) for line in lines), lines


def test_at_the_end_only_the_lines_that_stay_are_left_and_the_cursor_is_back() -> None:
    console = terminal()
    live = Live(console)
    with live.board("pi5") as board:
        with board.task("copy", 2) as advance:
            advance(2)
        board.say("report: pi5.report.json")
        live.say("of none in particular")
    assert last_screen(console) == ["pi5: report: pi5.report.json", "of none in particular"]
    assert written(console).rfind("\x1b[?25h") > written(console).rfind("\x1b[?25l")


def test_a_board_after_another_is_shown_too() -> None:
    console = terminal()
    live = Live(console)
    for name in ("first", "second"):
        with live.board(name) as board:
            board.say("done")
            live._bars.refresh()
    assert last_screen(console) == ["first: done", "second: done"]
    assert "second waiting" in written(console)


def test_an_error_clears_the_line_as_well() -> None:
    console = terminal()
    live = Live(console)
    with pytest.raises(ValueError, match=r"^of ours$"), live.board("pi5"):
        raise ValueError("of ours")
    assert last_screen(console) == []


def test_brackets_are_no_markup_whoever_wrote_them() -> None:
    console = terminal()
    live = Live(console)
    with live.board("[red]pi[/]") as board, board.task("[bold]copy[/x]", 2) as advance:
        advance(1, "[/oops]")
        board.say("[b]said[/i]")
        live._bars.refresh()
        shown = last_screen(console)
    assert "[red]pi[/]: [b]said[/i]" in shown
    assert any("[red]pi[/] [bold]copy[/x]" in line and "[/oops]" in line for line in shown), shown


def test_what_a_board_says_does_not_steer_the_terminal() -> None:
    console, bell = terminal(), "\x1b]0;owned\x07"
    live = Live(console)
    with live.board("pi5") as board, board.task(bell, 2) as advance:
        advance(1, bell)
        board.say(bell)
        live.say(bell)
        live._bars.refresh()
    assert "\x1b]0;" not in written(console)
    assert written(console).count("\\x1b]0;owned\\x07") >= 4
