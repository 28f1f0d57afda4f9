"""The process that builds: a program that reads `Told` from stdin and writes `Line` to stdout, until stdin ends."""

import contextlib
import itertools
import sys
import time
from collections.abc import Iterator
from typing import TextIO

from packager.apart import Advanced, Line, Opened, Told
from runner import codec
from runner.progress import Advance
from runner.worker import claim_stdout, die_with, go_first

TELL_S = 0.1


def main(parent: int) -> None:
    """Do what stdin says."""
    die_with(parent)
    go_first()
    with claim_stdout() as stdout:
        from packager.apart import remade  # noqa: PLC0415 - heavy, and it may print

        shown, bench = Relay(stdout), None
        for text in sys.stdin:
            told = codec.read_json(Told, text)
            if told.start is not None:
                bench = None  # of another recipe: its networks would lie in memory beside these
                bench = remade.bench(told.start, shown)
                shown.tell(Line(ready=bench is not None))
            if told.order is not None and bench is not None:
                failed = remade.build(told.order, bench)
                shown.tell(Line(built=failed is None, failed=failed))


class Relay:
    """A Progress that the parent shows."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout
        self._numbers = itertools.count()

    def tell(self, line: Line) -> None:
        """Write a line."""
        self._stdout.write(codec.write_json(line))
        self._stdout.flush()

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work there."""
        number, untold, told_s = next(self._numbers), 0, time.monotonic()
        self.tell(Line(opened=Opened(task=number, title=title, total=total)))

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal untold, told_s
            untold += steps
            if time.monotonic() - told_s > TELL_S:
                self.tell(Line(advanced=Advanced(task=number, steps=untold, note=note)))
                untold, told_s = 0, time.monotonic()

        try:
            yield advance
        finally:
            if untold:
                self.tell(Line(advanced=Advanced(task=number, steps=untold, note="")))
            self.tell(Line(closed=number))

    def say(self, message: str) -> None:
        """Have one line shown that stays."""
        self.tell(Line(said=message))
