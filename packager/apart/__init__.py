"""Building in a process of its own: what crashes there, or is killed where memory runs out, is one artifact's failure.

This file has what travels, as lines of JSON: the child's stdin takes `Told`, its stdout gives `Line`. `parent` starts
the child and hears it out; `child` is its program, for which `remade` makes the networks again from the recipe and the
cache, and builds into the cache: there the parent finds by its key what was built.
"""

from dataclasses import dataclass
from typing import Protocol

from packager.recipe import Quantize, Recipe
from runner.manifest import Candidate, Target

HERE = "note: artifacts are built in pack's own process, which a crash ends"
"""How it is told that there can be no other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What networks are made again from: all that was trained or pruned is found in the cache."""

    recipe: Recipe
    cache: str
    """The folder."""
    networks: tuple[str, ...]
    """The keys of those that have to come out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One artifact that is to be built into the cache."""

    candidate: Candidate
    target: Target
    recipe: Recipe
    """Which may know more than that of the start: what a search has found."""
    variant: str
    quantize: Quantize | None
    network: str
    """The key of the network, and of the one that it may learn from."""
    teacher: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """One line for the child: one of the two."""

    start: Start | None = None
    order: Order | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """A piece of long work has begun."""

    task: int
    """Its number."""
    title: str
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Advanced:
    """A piece of work has come on."""

    task: int
    steps: int
    note: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """A StepError on its way."""

    what: str
    where: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line of the child: one of these. An order is answered by `built` or `failed`, in the order of the orders."""

    ready: bool | None = None
    """To a start: whether the networks could be made again."""
    built: bool = False
    failed: Failed | None = None
    opened: Opened | None = None
    advanced: Advanced | None = None
    closed: int | None = None
    """The number of a piece of work that has ended."""
    said: str | None = None


class Apart(Protocol):
    """Builds in a process of its own."""

    def prepare(self, start: Start) -> None:
        """Have the networks of another recipe made again, without waiting for them."""

    def rest(self) -> None:
        """Wait until the networks are there: what is done meanwhile would disturb what is timed."""

    def begin(self, order: Order) -> None:
        """Have an artifact built, without waiting for it; once, however often it is asked for."""

    def finish(self, order: Order) -> bool:
        """Wait for an artifact, and say whether it was built: not where it was never begun, or nothing can be built.

        Raises StepError.
        """
