"""How long work tells how far it is. Steps report to a Progress; only the command line decides what is shown."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Called by a step as its work goes on."""

    def __call__(self, steps: int = 1, note: str = "") -> None:
        """Say that `steps` more are done; `note` is a word on the latest, such as a loss."""


class Progress(Protocol):
    """Shows long work to somebody."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work of `total` steps, and yield what the step calls as they are done."""
        ...

    def say(self, message: str) -> None:
        """Show one line that stays."""


class Silent:
    """Shows nothing."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work that nobody watches."""
        yield _ignore

    def say(self, message: str) -> None:
        """Show nothing."""


def _ignore(steps: int = 1, note: str = "") -> None:
    pass
