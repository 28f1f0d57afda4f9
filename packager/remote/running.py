"""The runner on a board, seen from here: its lines become progress, and what it ended with an error."""

import contextlib
import signal
from dataclasses import dataclass

from packager.remote import link
from packager.remote.link import Board, Listener
from runner import codec
from runner.edge import INTERRUPTED
from runner.errors import BundleError, EdgepackError, MeasurementError, RuntimeUnavailable, UsageError
from runner.progress import Advance, Progress

TRY = "  try: "
ERROR = "error: "
REPORT = "report: "
ERRORS: dict[int, type[EdgepackError]] = {
    kind.exit_code: kind for kind in (UsageError, BundleError, RuntimeUnavailable, MeasurementError)
}
WORDS = 40
"""How many of the last lines that are no progress are kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """A line of `--progress json`: how far a piece of work is, or something said."""

    task: str | None = None
    total: int = 0
    done: int = 0
    note: str = ""
    say: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a program on a board ended."""

    exit_code: int
    said: tuple[str, ...]
    """The last lines that it wrote on its stream of errors, its progress aside."""

    def error(self, where: str) -> EdgepackError:
        """Return what it failed with, as it told it."""
        if self.exit_code in (INTERRUPTED, -signal.SIGINT):
            return link.Ended("interrupted", where=where)
        kind = ERRORS.get(self.exit_code, MeasurementError)
        begins = [index for index, line in enumerate(self.said) if line.startswith(ERROR)]
        if not begins:
            last = self.said[-1] if self.said else "nothing"
            return kind(f"the run there {_ended(self.exit_code)}, and said {last}", where=where)
        told = "\n".join(self.said[begins[-1] :]).removeprefix(ERROR)
        what, _, advice = told.partition(f"\n{TRY}")
        return kind(" ".join(what.split()), where=where, advice=advice)


def run(board: Board, argv: list[str], progress: Progress, timeout_s: float | None) -> Ended:
    """Run the runner on a board with `--progress json`, and show what it is at. Raises EdgepackError."""
    said = list[str]()
    with contextlib.ExitStack() as stack:
        # Until it says what it is at: a slow board takes its time to start Python.
        stack.enter_context(progress.task("start", 0))
        shown = Shown(progress, stack)

        def err(line: str) -> None:
            event = read(line)
            if event:
                shown.show(event)
            else:
                said.append(line)
                del said[:-WORDS]

        code = board.run(argv, Listener(err=err), timeout_s)
    return Ended(exit_code=code, said=tuple(said))


class Shown:
    """The one task that a board is at, as a task here."""

    def __init__(self, progress: Progress, stack: contextlib.ExitStack) -> None:
        self._progress = progress
        self._stack = stack
        self._title = ""
        self._done = 0
        self._advance: Advance | None = None

    def show(self, event: Event) -> None:
        """Show what came."""
        # Where its report lies there is of no interest: it is brought here.
        if event.say is not None and not event.say.startswith(REPORT):
            self._progress.say(event.say)
        if event.task is None:
            return
        if event.task != self._title or self._advance is None or event.done < self._done:
            self._stack.pop_all().close()
            self._advance = self._stack.enter_context(self._progress.task(event.task, event.total))
            self._title, self._done = event.task, 0
        self._advance(event.done - self._done, event.note)
        self._done = event.done


def _ended(exit_code: int) -> str:
    """Return how a program ended, as Python counts it: below zero by a signal."""
    if exit_code >= 0:
        return f"ended with {exit_code}"
    if exit_code == -signal.SIGKILL:
        return "was ended by SIGKILL, as Linux does where memory runs out"
    known = {number.value: number.name for number in signal.Signals}
    return f"was ended by {known.get(-exit_code, f'signal {-exit_code}')}"


def read(line: str) -> Event | None:
    """Return what a line of the runner says of its progress; None where it is another line."""
    if not line.startswith("{"):
        return None
    try:
        return codec.read_json(Event, line)
    except codec.InvalidDocumentError:
        return None
