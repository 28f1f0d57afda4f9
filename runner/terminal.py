"""Progress on a stream: a bar on a terminal; elsewhere the lines that stay, and one now and then where work is long."""

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from runner.plain import plain
from runner.progress import Advance

BAR_WIDTH = 24
REDRAW_S = 0.1
REMIND_S = 30.0
"""After how long without a line a log that grows without anybody at it gets one."""
CLEAR_LINE = "\r\x1b[K"


@dataclass(kw_only=True, slots=True)
class Task:
    """A piece of work that goes on."""

    title: str
    total: int
    started_s: float
    done: int = 0
    note: str = ""


class Terminal:
    """A Progress on a text stream; tasks within tasks show the innermost."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._moving = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._tasks: list[Task] = []
        self._drawn_s: float | None = None
        self._said_s = clock()

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work of `total` steps; its bar is gone when it ends."""
        task = Task(title=title, total=total, started_s=self._clock())
        self._tasks.append(task)
        self._draw()

        def advance(steps: int = 1, note: str = "") -> None:
            task.done += steps
            task.note = note or task.note
            if not self._moving and self._clock() - self._said_s >= REMIND_S:
                self.say(reminder(task, self._clock()))
            if self._drawn_s is None or self._clock() - self._drawn_s >= REDRAW_S:
                self._draw()

        try:
            yield advance
        finally:
            self._tasks.remove(task)
            self._erase()
            self._draw()

    def say(self, message: str) -> None:
        """Show one line that stays, above the bar if there is one."""
        self._erase()
        self._stream.write(f"{plain(message)}\n")
        self._stream.flush()
        self._said_s = self._clock()
        self._draw()

    def _erase(self) -> None:
        if self._moving and self._drawn_s is not None:
            self._stream.write(CLEAR_LINE)
            self._stream.flush()
            self._drawn_s = None

    def _draw(self) -> None:
        if self._moving and self._tasks:
            self._drawn_s = self._clock()
            width = shutil.get_terminal_size().columns - 1
            line = plain(bar_line(self._tasks[-1], self._drawn_s))
            self._stream.write(CLEAR_LINE + line[:width])
            self._stream.flush()


def bar_line(task: Task, now_s: float) -> str:
    """Return the bar of a task, its count, its rate, the time that is left, and the latest note."""
    share = min(task.done / task.total, 1.0) if task.total else 1.0
    full = round(share * BAR_WIDTH)
    parts = [task.title, "━" * full + "╌" * (BAR_WIDTH - full), f"{task.done}/{task.total}", f"{100 * share:.0f} %"]
    elapsed_s = now_s - task.started_s
    if task.done and elapsed_s > 0:
        parts += [_pace(task.done / elapsed_s), f"{_left(task, now_s)} left"]
    return "  ".join([*parts, task.note] if task.note else parts)


def reminder(task: Task, now_s: float) -> str:
    """Return how far a task is, as a line of a log."""
    return f"{task.title}: {task.done} of {task.total}, {_left(task, now_s)} left"


def _left(task: Task, now_s: float) -> str:
    share = min(task.done / task.total, 1.0) if task.total else 1.0
    return _clock_time((now_s - task.started_s) * (1 - share) / share) if share else "?"


def _pace(per_s: float) -> str:
    return f"{per_s:,.1f}/s" if per_s >= 1 else f"{1 / per_s:,.1f} s each"


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
