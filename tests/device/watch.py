"""A display that keeps what it is told of each board, and lets something happen when the work has come to a point."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from runner.progress import Advance, Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Then:
    """What is to happen, once, when a task of a board has come so far."""

    task: str
    done: int
    happens: Callable[[], object]


@dataclass
class Watched:
    """What is told of one board."""

    plans: list[Then]
    """The next one first: none is looked at before the one that it follows has happened."""
    said: list[str] = field(default_factory=list)
    tasks: list[tuple[str, list[int]]] = field(default_factory=list)
    """Each that was begun, and how far it was at each time that it was told."""

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Keep how a piece of work goes on."""
        told = list[int]()
        self.tasks.append((title, told))

        def advance(steps: int = 1, note: str = "") -> None:
            del note
            told.append((told[-1] if told else 0) + steps)
            assert not total or told[-1] <= total
            if self.plans and title == self.plans[0].task and told[-1] >= self.plans[0].done:
                self.plans.pop(0).happens()

        yield advance

    def say(self, message: str) -> None:
        """Keep a line."""
        self.said.append(message)

    def copies(self) -> list[list[int]]:
        """Return how far each copying of the bundle was, each time that it was told."""
        return [told for title, told in self.tasks if title == "copy"]


class Watch:
    """A Display of the boards, by their names."""

    def __init__(self, plans: Mapping[str, Sequence[Then]]) -> None:
        self._plans = plans
        self.boards: dict[str, Watched] = {}

    @contextlib.contextmanager
    def board(self, name: str) -> Iterator[Progress]:
        """Keep what is told of a board."""
        yield self.boards.setdefault(name, Watched(list(self._plans.get(name, ()))))

    def say(self, message: str) -> None:
        """Nothing of no board in particular is told in these tests."""
        raise AssertionError(message)
