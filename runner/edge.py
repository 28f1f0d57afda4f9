"""Where a command ends: whatever happened becomes an exit code, and one message on the stream of errors."""

import contextlib
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TextIO

import click

from runner.errors import EdgepackError, UsageError
from runner.plain import plain

DEBUG = "EDGEPACK_DEBUG"
UNEXPECTED = EdgepackError.exit_code
INTERRUPTED = 130
"""128 + SIGINT, as a shell reports a program that Ctrl-C ended."""
ENDING = (signal.SIGTERM, signal.SIGHUP)
"""What ends a command as Ctrl-C does, with 128 + its number: `kill`, a service's stop, a connection that is closed."""
NOBODY_READS = 141
"""128 + SIGPIPE: stdout was closed, as by `| head`."""


def run(command: click.Command, args: Sequence[str], *, program: str) -> int:
    """Run a command with the arguments that follow its name, and return the exit code; the only broad `except`."""
    _open_streams()
    for stream in (sys.stdout, sys.stderr):
        _never_fail_on_a_letter(stream)
    with _ordered_end() as received:
        try:
            code = _invoke(command, args, program)
            sys.stdout.flush()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge: no traceback reaches a user unasked
            code = _explain(error)
    return 128 + received[0] if received and code == INTERRUPTED else code


def _open_streams() -> None:
    """Give what is written a place to go where the program was started with a stream closed, as by `>&-`."""
    # Python has None for such a stream, and what is opened next takes its number: better this than a report.
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))


@contextlib.contextmanager
def _ordered_end() -> Iterator[list[int]]:
    """Let the signals that end a command do what Ctrl-C does, and yield the one that came: others change nothing."""
    received = list[int]()
    before = {number: signal.getsignal(number) for number in ENDING}
    # What is ignored stays so: `nohup` asks for that.
    heard = [number for number, action in before.items() if action == signal.SIG_DFL]
    on_terminal = [stream for stream in (sys.stdout, sys.stderr) if stream.isatty()]

    def end(number: int, _: FrameType | None) -> None:
        received.append(number)
        # systemd sends SIGHUP right after SIGTERM, and what was finished is being written by then.
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        for stream in on_terminal:
            _leave_if_gone(stream)
        raise KeyboardInterrupt

    for number in heard:
        signal.signal(number, end)
    try:
        yield received
    finally:
        for number in heard:
            signal.signal(number, before[number])


def _leave_if_gone(stream: TextIO) -> None:
    """Lead to nowhere what was for a terminal that is closed: its errors must not keep a report from being written."""
    if not stream.isatty():
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _invoke(command: click.Command, args: Sequence[str], program: str) -> int:
    # Not command.main(): it exits 1 where stdout is closed, and 1 says here that a limit was missed.
    try:
        with command.make_context(program, list(args)) as context:
            command.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _explain(error: Exception | KeyboardInterrupt) -> int:
    """Tell what ended the command, and return its exit code."""
    code = UNEXPECTED
    match error:
        case KeyboardInterrupt() | click.Abort():
            _tell("interrupted")
            code = INTERRUPTED
        case click.ClickException():
            error.show(file=sys.stderr)
            code = UsageError.exit_code
        case EdgepackError():
            _tell(f"error: {error}")
            code = error.exit_code
        case OSError():
            code = _stream_failed(error)
        case _:
            _tell_unexpected(error)
    return code


def colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal whose owner has nothing against colours (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def columns(stream: TextIO, most: int) -> int:
    """Return how wide text may be on a stream: as the terminal, if it is one, but no wider than is easy to read."""
    return min(most, shutil.get_terminal_size().columns) if stream.isatty() else most


def _stream_failed(error: OSError) -> int:
    """Tell what the operating system refused; where that was stdout, keep Python from telling it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS
    place = f"{error.filename}: " if error.filename else "output: "
    _tell(f"error: {place}{error.strerror or error}")
    return UNEXPECTED


def _tell_unexpected(error: Exception) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exc(file=sys.stderr)
    told = " ".join(str(error).split()) or "no message"
    _tell(f"error: unexpected {type(error).__name__}: {told}\n  try: {DEBUG}=1 shows where it happened")


def _tell(message: str) -> None:
    message = plain(message)
    if colour(sys.stderr) and message.startswith("error:"):
        message = click.style("error:", fg="red", bold=True) + message.removeprefix("error:")
    try:
        sys.stderr.write(f"{message}\n")
        sys.stderr.flush()
    except OSError:
        # Nobody can be told, as where a log is on a full disk; the exit code still says it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _never_fail_on_a_letter(stream: TextIO) -> None:
    """Let a terminal of another encoding show `?` for what it does not have."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
