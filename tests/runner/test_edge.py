"""Where commands end: one message, the exit code of its class, and never a traceback that nobody asked for."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from runner import edge
from runner.errors import (
    BundleError,
    EdgepackError,
    MeasurementError,
    ReportError,
    RuntimeUnavailable,
    StepError,
    UsageError,
)

ROOT = Path(__file__).parent.parent.parent


def ending(body: Callable[[], None]) -> click.Command:
    """Return a command that does `body`."""
    return click.Command("ending", callback=body)


def raising(error: BaseException) -> click.Command:
    """Return a command that ends with an error."""

    def body() -> None:
        raise error

    return ending(body)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (BundleError("x"), 3),
        (ReportError("x"), 3),
        (RuntimeUnavailable("x"), 4),
        (MeasurementError("x"), 5),
        (EdgepackError("x"), 5),
        (StepError("x"), 6),
    ],
)
def test_each_class_of_errors_has_its_exit_code(
    error: EdgepackError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert edge.run(raising(error), [], program="p") == code
    assert capsys.readouterr() == ("", "error: x\n")


def test_an_error_says_what_where_and_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    edge.run(raising(BundleError("is torn", where="net.edgepack", advice="copy it again")), [], program="p")
    assert capsys.readouterr().err == "error: net.edgepack: is torn\n  try: copy it again\n"


def test_what_nobody_foresaw_is_one_line_and_the_way_to_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEPACK_DEBUG", raising=False)
    assert edge.run(raising(ValueError("bad\n  thing")), [], program="p") == 5
    message = "error: unexpected ValueError: bad thing\n  try: EDGEPACK_DEBUG=1 shows where it happened\n"
    assert capsys.readouterr().err == message
    monkeypatch.setenv("EDGEPACK_DEBUG", "1")
    assert edge.run(raising(ValueError("bad thing")), [], program="p") == 5
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last):\n")
    assert "in body" in told


def test_an_interruption_is_130(capsys: pytest.CaptureFixture[str]) -> None:
    assert edge.run(raising(KeyboardInterrupt()), [], program="p") == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_ends_is_an_interruption_with_its_own_code(
    number: signal.Signals, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def body() -> None:
        try:
            signal.raise_signal(number)
            pytest.fail("it went on")
        finally:
            # What an interrupted command writes at its end is not interrupted again.
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            click.echo("written")

    before = [signal.getsignal(each) for each in edge.ENDING]
    assert edge.run(ending(body), [], program="p") == code
    assert capsys.readouterr() == ("written\n", "interrupted\n")
    assert [signal.getsignal(each) for each in edge.ENDING] == before


def test_a_command_that_tells_itself_that_it_was_interrupted_ends_with_the_signals_code() -> None:
    def body() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            click.get_current_context().exit(edge.INTERRUPTED)

    assert edge.run(ending(body), [], program="p") == 143


def test_what_nohup_has_ignored_stays_ignored(capsys: pytest.CaptureFixture[str]) -> None:
    def body() -> None:
        signal.raise_signal(signal.SIGHUP)
        click.echo("went on")

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert edge.run(ending(body), [], program="p") == 0
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr() == ("went on\n", "")


def test_what_the_system_refuses_is_told_with_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    refused = PermissionError(errno.EACCES, "Permission denied", "secret.bin")
    assert edge.run(raising(refused), [], program="p") == 5
    assert capsys.readouterr().err == "error: secret.bin: Permission denied\n"


def test_an_option_that_there_is_not_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert edge.run(ending(lambda: None), ["--no"], program="p") == 2
    assert "No such option" in capsys.readouterr().err


def test_a_command_ends_with_0_or_with_the_code_that_it_asks_for() -> None:
    assert edge.run(ending(lambda: None), [], program="p") == 0

    def leave() -> None:
        click.get_current_context().exit(1)

    assert edge.run(ending(leave), [], program="p") == 1


def printing(redirection: str) -> subprocess.CompletedProcess[str]:
    """Run a command that prints more than a pipe holds, its stdout redirected as a shell does it."""
    program = (
        "import click, sys; from runner import edge; "
        "sys.exit(edge.run(click.Command('p', callback=lambda: click.echo('x' * 5_000_000)), [], program='p'))"
    )
    script = f'"$0" -c "$1" {redirection}'
    shell = ["bash", "-o", "pipefail", "-c", script, sys.executable, program]
    return subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    found = printing("| true")
    assert (found.returncode, found.stdout, found.stderr) == (141, "", "")


def test_a_full_disk_behind_stdout_is_told_once() -> None:
    found = printing("> /dev/full")
    assert (found.returncode, found.stderr) == (5, "error: output: No space left on device\n")


@pytest.mark.parametrize(("closed", "shown"), [("2>&-", "5000001"), (">&-", "0"), ("<&- >&- 2>&-", "0")])
def test_a_stream_that_is_closed_at_the_start_keeps_nothing_from_being_done(closed: str, shown: str) -> None:
    found = printing(f"{closed} | wc -c")
    assert (found.returncode, found.stdout.strip(), found.stderr) == (0, shown, "")


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-"])
def test_an_error_that_nobody_can_be_told_keeps_its_exit_code(redirection: str) -> None:
    program = (
        "import click, sys; from runner import edge\nfrom runner.errors import BundleError\n"
        "def body(): raise BundleError('x')\n"
        "sys.exit(edge.run(click.Command('p', callback=body), [], program='p'))"
    )
    shell = ["sh", "-c", f'"$0" -c "$1" {redirection}', sys.executable, program]
    found = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (3, "", "")


def test_a_letter_that_the_terminal_does_not_have_is_a_question_mark() -> None:
    program = (
        "import click, sys; from runner import edge; "
        "sys.exit(edge.run(click.Command('p', callback=lambda: click.echo('5 µs — ok')), [], program='p'))"
    )
    environment = {"PYTHONIOENCODING": "latin-1", "PATH": ""}
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert (found.returncode, found.stdout) == (0, b"5 \xb5s ? ok\n")


class Stream:
    """A stream of which only one thing is asked."""

    def __init__(self, *, terminal: bool) -> None:
        self.terminal = terminal

    def isatty(self) -> bool:
        """Answer as told."""
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "variables", "colour"),
    [
        (True, {"TERM": "xterm"}, True),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, {"TERM": "dumb"}, False),
        (False, {"TERM": "xterm"}, False),
    ],
)
def test_colours_are_for_terminals_whose_owner_wants_them(
    *, terminal: bool, variables: dict[str, str], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert edge.colour(Stream(terminal=terminal)) is colour  # type: ignore[arg-type]  # all that is asked of a stream


@pytest.mark.parametrize(("terminal", "columns"), [(False, 120), (True, 80)])
def test_text_is_as_wide_as_the_terminal_if_it_is_one(
    *, terminal: bool, columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert edge.columns(Stream(terminal=terminal), 120) == columns  # type: ignore[arg-type]  # all that is asked of it
    assert edge.columns(Stream(terminal=terminal), 60) == 60  # type: ignore[arg-type]  # as above
