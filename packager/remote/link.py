"""A session on a board: what the host can have done there, and that nothing is left behind at its end."""

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packager.remote import failures, ssh
from packager.remote.agent.session import PYTHON
from packager.remote.destination import Destination
from packager.remote.line import Line, Patience, Received
from packager.remote.messages import PROTOCOL, BoardFacts, Message
from runner.errors import BundleError, EdgepackError
from runner.progress import Advance

__all__ = ["PYTHON", "Board", "Done", "Ended", "Listener", "connect", "growing", "never"]

BLOCK_BYTES = 1 << 20
Done = Callable[[int], None]
"""Is told how many bytes of a file are there."""


class Ended(EdgepackError):  # noqa: N818 - a wish that was met, and no failure
    """Somebody wanted the work to end."""

    exit_code = 130


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """What to do with each line that a program on the board prints."""

    out: Callable[[str], None] = lambda _: None
    err: Callable[[str], None] = lambda _: None


def growing(advance: Advance, note: str = "") -> Done:
    """Turn how much of a file is there into how much has come."""
    before = 0

    def grow(there: int) -> None:
        nonlocal before
        advance(there - before, note)
        before = there

    return grow


def never() -> bool:
    """Say that nobody wants the work to end."""
    return False


@contextlib.contextmanager
def connect(
    destination: Destination,
    session: str = "edgepack",
    patience: Patience = Patience(),  # noqa: B008 - has no state
    wants_end: Callable[[], bool] = never,
) -> Iterator["Board"]:
    """Reach a board, and yield the session there; at its end nothing is left behind, unless `keep` was set.

    `session` names its folder on the board: what an attempt that was cut off brought there is found by the next one of
    that name. Raises Lost, Refusal, RuntimeUnavailable where there is no Python, and Ended.
    """
    if wants_end():
        raise Ended("interrupted", where=destination.name)
    if wants_end():
        raise _interrupted(destination.name)
    line = Line.open(destination, patience)
    try:
        board = _begin(line, session, patience, wants_end)
        try:
            yield board
        except BaseException as error:
            # Where the line is whole, the board can still be left in order.
            if not isinstance(error, failures.Lost):
                with contextlib.suppress(EdgepackError):
                    board.close()
            raise
        # What is in hand is not given up because the line ended now: the board tidies up by itself.
        with contextlib.suppress(failures.Lost):
            board.close()
    finally:
        line.hang_up()


@dataclass(kw_only=True, slots=True)
class Board:
    """An open session on a board."""

    line: Line
    patience: Patience
    wants_end: Callable[[], bool]
    """Asked again and again; a program on the board is then asked to end as well, and given time."""
    facts: BoardFacts
    folder: str
    """Where the session's things are, on the board."""
    keep: tuple[str, ...] = ()
    """Names of what is left there at the end, of what was brought."""

    def put(self, path: Path, name: str, done: Done = lambda _: None) -> bool:
        """Copy a file there, from where an earlier attempt ended, and return whether it was all there before.

        Raises EdgepackError.
        """
        size_bytes = path.stat().st_size
        self.line.send({"do": "put", "name": name, "size_bytes": size_bytes, "sha256": _sha256(path)})
        answer = self._answer().message
        have_bytes = answer.have_bytes
        if have_bytes is None or not 0 <= have_bytes <= size_bytes:
            raise self._unfit()
        done(have_bytes)
        if answer.whole:
            return True
        with path.open("rb") as file:
            file.seek(have_bytes)
            while have_bytes < size_bytes:
                data = file.read(min(BLOCK_BYTES, size_bytes - have_bytes))
                if not data:
                    raise BundleError("it became shorter while it was sent", where=str(path))
                self.line.send({"do": "data", "bytes": len(data)}, data)
                have_bytes += len(data)
                if self._answer().message.have_bytes != have_bytes:
                    raise self._unfit()
                done(have_bytes)
        if not self._answer().message.whole:
            raise self._unfit()
        return False

    def run(self, argv: Sequence[str], listener: Listener, timeout_s: float | None = None) -> int:
        """Run a program in the session's folder, and return its exit code; `python` as its first word is the board's.

        A wish to end is passed on to the program, once. Raises EdgepackError: TooSlow after `timeout_s`.
        """
        self.line.send({"do": "run", "argv": list(argv)})
        began_s, asked_s = time.monotonic(), 0.0
        while True:
            now_s = time.monotonic()
            if not asked_s and self.wants_end():
                self.line.send({"do": "stop"})
                self.wants_end, asked_s = never, now_s
            if asked_s and now_s - asked_s > self.patience.stop_s:
                self._kill()
                raise Ended("did not end when it was asked to", where=self.name)
            if timeout_s is not None and now_s - began_s > timeout_s:
                self._kill()
                what = f"not done within {timeout_s:g} s"
                raise failures.TooSlow(what, where=self.name, advice="a longer --timeout, or less --effort")
            found = self.line.arrived(self.patience.silence_s)
            if found and found.message.exit is not None:
                return found.message.exit
            if found:
                _tell(found.message, listener)

    def get(self, name: str) -> bytes:
        """Return a file of the session's folder. Raises EdgepackError."""
        self.line.send({"do": "get", "name": name})
        return self._answer().payload

    def close(self) -> None:
        """End the session in order, and see that the board has done it. Raises EdgepackError."""
        self.wants_end = never
        self.line.send({"do": "close", "keep": self.keep})
        ends_s = time.monotonic() + self.patience.stop_s
        while time.monotonic() < ends_s:
            found = self.line.arrived(self.patience.silence_s)
            if found and found.message.closed:
                return
        raise failures.Lost(f"did not end the session within {self.patience.stop_s:g} s", where=self.name)

    @property
    def name(self) -> str:
        """The board's name."""
        return self.line.destination.name

    def _kill(self) -> None:
        self.line.send({"do": "kill"})
        while self._answer().message.exit is None:
            pass

    def _unfit(self) -> EdgepackError:
        return failures.Lost("what it answers does not fit what it was asked", where=self.name)

    def _answer(self) -> Received:
        return _answer(self.line, self.patience.silence_s, self.wants_end)


def _begin(line: Line, session: str, patience: Patience, wants_end: Callable[[], bool]) -> Board:
    """Give the board its agent, and open the session's folder."""
    name = line.destination.name
    # A board without Python has said so and gone before it was given anything.
    with contextlib.suppress(EdgepackError):
        line.send_bytes(ssh.program())
    hello = _answer(line, patience.hello_s, wants_end).message
    if hello.no_python:
        raise failures.NoPythonError(hello.no_python, name)
    if not hello.facts or not hello.facts.plausible or hello.edgepack != PROTOCOL:
        raise failures.Lost("what answers there is not edgepack's agent", where=name)
    line.greeted = True
    line.send({"do": "open", "session": session, "lease_s": patience.lease_s})
    folder = _answer(line, patience.silence_s, wants_end).message.folder or ""
    line.start(line.beat)
    return Board(line=line, patience=patience, wants_end=wants_end, facts=hello.facts, folder=folder)


def _answer(line: Line, silence_s: float, wants_end: Callable[[], bool]) -> Received:
    """Wait for a message that is more than a sign of life. Raises EdgepackError."""
    while True:
        if wants_end():
            raise _interrupted(line.destination.name)
        found = line.arrived(silence_s)
        if found and not found.message.beat:
            return found


def _interrupted(name: str) -> Ended:
    return Ended("interrupted", where=name)


def _tell(message: Message, listener: Listener) -> None:
    if message.out is not None:
        listener.out(message.out)
    if message.err is not None:
        listener.err(message.err)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
