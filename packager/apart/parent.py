"""The parent's side: starts the process that builds, shows what it tells, and starts it anew where it died."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from packager.apart import HERE, Line, Order, Start, Told
from runner import codec
from runner.edge import DEBUG
from runner.errors import StepError
from runner.progress import Advance, Progress

ROOT = Path(__file__).absolute().parent.parent.parent
"""The folder that holds the package `packager`."""
START = "import sys; sys.path.insert(0, sys.argv[1]); from packager.apart.child import main; main(int(sys.argv[2]))"
MEANINGS = {
    signal.SIGILL: " (illegal instruction)",
    signal.SIGKILL: ", which is what the system does where memory runs out",
}
ADVICE = {
    signal.SIGILL: "a build of its libraries for this CPU, or leave it out",
    signal.SIGKILL: "a machine with more memory, fewer calibration samples, or leave it out",
}
OTHERS = "another version of its libraries, or leave it out"


@contextlib.contextmanager
def opened(progress: Progress) -> Iterator["Workshop"]:
    """Start the process; on the way out it is dead, and gone with all that it has started and written elsewhere."""
    with tempfile.TemporaryDirectory(prefix="edgepack-", ignore_cleanup_errors=True) as folder:
        workshop = Workshop(Path(folder), progress)
        try:
            yield workshop
        finally:
            workshop.close()


class Workshop:
    """Builds one artifact after the other, in the order in which they were begun."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        """Start the process at once: what it imports takes seconds. It has the folder for files of its own."""
        self._folder, self._progress = folder, progress
        self._child: _Child | None = _Child(folder)
        self._start: Start | None = None
        self._ready = False
        self._begun: list[Order] = []
        self._tried: list[Order] = []
        """Those that get no other chance."""

    def prepare(self, start: Start) -> None:
        """Have the networks of another recipe made again, without waiting for them."""
        if self._begun or (self._start is not None and not self._ready):
            self.close()  # Answers of an order that failed are on their way.
        self._child = self._child or _Child(self._folder)
        self._start, self._ready, self._begun = start, False, []
        self._child.tell(Told(start=start))

    def rest(self) -> None:
        """Wait until nothing is done there. Where the networks cannot be made again, all is built in this process."""
        if self._child is None or self._start is None or self._ready:
            return
        line = self._child.heard(self._progress)
        self._ready = line is not None and bool(line.ready)
        if not self._ready:
            if line is None:
                self._progress.say(f"{HERE}: the other {self._child.death().how}")
            self._begun.clear()
            self.close()

    def begin(self, order: Order) -> None:
        """Have an artifact built, without waiting for it."""
        if self._child is not None and self._start is not None and order not in self._begun:
            self._begun.append(order)
            self._child.tell(Told(order=order))

    def finish(self, order: Order) -> bool:
        """Wait for an artifact, and say whether it was built. Raises StepError."""
        while order in self._begun and self._begun[0] != order:
            # Nobody came back for it: it is asked for again where it is wanted.
            with contextlib.suppress(StepError):
                self._outcome()
        return order in self._begun and self._outcome()

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _outcome(self) -> bool:
        """Return what came of the order that was begun first. Raises StepError."""
        self.rest()
        if self._child is None:
            return False
        order = self._begun.pop(0)
        line = self._child.heard(self._progress)
        if line is None:
            death = self._child.death()
            if death.by_chance and order not in self._tried:
                # It may have been killed while it stood idle, for what another process has taken.
                self._tried.append(order)
                self._again(order)
                return self._outcome()
            self._again()
            raise StepError(f"its converter {death.how}", advice=death.advice)
        if line.failed is not None:
            raise StepError(line.failed.what, where=line.failed.where, advice=line.failed.advice)
        return line.built

    def _again(self, *first: Order) -> None:
        """Start anew, and go on with what was begun behind that of which it died."""
        begun, start = [*first, *self._begun], self._start
        self.close()
        if start is not None:
            self.prepare(start)
        for order in begun:
            self.begin(order)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Death:
    """What a process died of."""

    how: str
    advice: str
    by_chance: bool = False
    """Whether it need not be its own doing."""


class _Child:
    """The process."""

    def __init__(self, folder: Path) -> None:
        self._stderr: IO[bytes] | None = None if os.environ.get(DEBUG) else tempfile.TemporaryFile()  # noqa: SIM115 - closed below
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", START, str(ROOT), str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            # As in this process, threads that wait for each other sleep.
            env={"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "TMPDIR": str(folder)},
            start_new_session=True,  # Ctrl-C is for the parent, which ends it with all that it has started
        )

    def tell(self, told: Told) -> None:
        """Give it a line; one that has died is noticed by whoever waits for the answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(codec.write_json(told).encode())
            self._process.stdin.flush()

    def heard(self, progress: Progress) -> Line | None:
        """Show what it tells on the way, and return its next answer; None where it died."""
        assert self._process.stdout is not None
        tasks = dict[int, tuple[contextlib.ExitStack, Advance]]()
        with contextlib.ExitStack() as ending:
            for text in self._process.stdout:
                line = codec.read_json(Line, text)
                if line.opened is not None:
                    stack = ending.enter_context(contextlib.ExitStack())
                    advance = stack.enter_context(progress.task(line.opened.title, line.opened.total))
                    tasks[line.opened.task] = stack, advance
                # What a failure has left open is closed at some time later.
                elif line.advanced is not None and line.advanced.task in tasks:
                    tasks[line.advanced.task][1](line.advanced.steps, line.advanced.note)
                elif line.closed is not None and line.closed in tasks:
                    tasks.pop(line.closed)[0].close()
                elif line.said is not None:
                    progress.say(line.said)
                elif line.ready is not None or line.built or line.failed is not None:
                    return line
        return None

    def death(self) -> _Death:
        """Return what it died of."""
        status = self._process.wait()
        if status < 0:
            number = signal.Signals(-status)
            how = f"was ended by {number.name}{MEANINGS.get(number, '')}"
            return _Death(how=how, advice=ADVICE.get(number, OTHERS), by_chance=number == signal.SIGKILL)
        last = b"it left no word"
        if self._stderr is not None:
            self._stderr.seek(0)
            last = next(reversed(self._stderr.read().strip().splitlines()), b"")
        return _Death(
            how=f"ended with status {status}: {last.decode(errors='replace') or 'it left no word'}", advice=OTHERS
        )

    def close(self) -> None:
        """End it, and whatever it has started: a compiler and the like."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
