"""How the work on several boards is shown: a live line for each on a terminal, lines with their names in a log."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from runner.plain import plain
from runner.progress import Advance, Progress
from runner.terminal import REMIND_S, Task, reminder


class Display(Protocol):
    """Shows the work on several boards to somebody."""

    def board(self, name: str) -> contextlib.AbstractContextManager[Progress]:
        """Show a board until its work has ended; boards are shown beside each other."""
        ...

    def say(self, message: str) -> None:
        """Show one line that stays, of no board in particular."""


class Named:
    """The lines of several boards in one log, each with its name before it."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._writing = threading.Lock()

    @contextlib.contextmanager
    def board(self, name: str) -> Iterator[Progress]:
        """Show a board's lines."""
        yield NamedProgress(self, name)

    def say(self, message: str) -> None:
        """Show one line."""
        with self._writing:
            self._progress.say(message)


class NamedProgress:
    """A Progress whose tasks are told when they begin, and now and then where they are long."""

    def __init__(self, lines: Named, name: str) -> None:
        self._lines = lines
        self._name = name
        self._said_s = time.monotonic()

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Tell that a piece of work begins."""
        task = Task(title=title, total=total, started_s=time.monotonic())
        self.say(title)

        def advance(steps: int = 1, note: str = "") -> None:
            del note
            task.done += steps
            if time.monotonic() - self._said_s >= REMIND_S:
                self.say(reminder(task, time.monotonic()))

        yield advance

    def say(self, message: str) -> None:
        """Show one line."""
        self._said_s = time.monotonic()
        self._lines.say(f"{self._name}: {message}")


class Live:
    """A line for each board that moves, on a terminal."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            # No markup: what stands in brackets is a board's own.
            TextColumn("{task.fields[board]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", justify="right"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False),
            console=console,
            transient=True,
        )
        self._opened = 0
        self._opening = threading.Lock()

    @contextlib.contextmanager
    def board(self, name: str) -> Iterator[Progress]:
        """Show a board's line while the body runs."""
        with self._opening:
            if not self._opened:
                self._bars.start()
            self._opened += 1
        line = self._bars.add_task("waiting", board=name, count="", note="", total=None)
        try:
            yield LiveProgress(self._bars, line, name)
        finally:
            self._bars.remove_task(line)
            with self._opening:
                self._opened -= 1
                if not self._opened:
                    self._bars.stop()

    def say(self, message: str) -> None:
        """Show one line above those that move."""
        self._bars.console.print(plain(message), markup=False, highlight=False)


class LiveProgress:
    """A Progress on a board's line."""

    def __init__(self, bars: Bars, line: TaskID, name: str) -> None:
        self._bars = bars
        self._line = line
        self._name = name

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Show a piece of work on the line until it ends."""
        done = 0
        self._bars.update(self._line, description=plain(title), total=total or None, completed=0, count="", note="")

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done
            done += steps
            count = f"{100 * min(done / total, 1):.0f} %" if total else ""
            self._bars.update(self._line, completed=done, count=count)
            if note:
                self._bars.update(self._line, note=plain(note))

        yield advance

    def say(self, message: str) -> None:
        """Show one line above those that move."""
        self._bars.console.print(plain(f"{self._name}: {message}"), markup=False, highlight=False)
