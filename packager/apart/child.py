"""The process that builds: a program that reads `Told` from stdin and writes `Line` to stdout, until stdin ends."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TextIO

from packager import artifacts, branches, journal, network, origin
from packager.apart import Advanced, Failed, Line, Opened, Order, Start, Told
from packager.builders import BuildContext
from packager.cache import Cache
from packager.journal import Journal
from packager.network import Network, Workbench
from runner import codec
from runner.edge import DEBUG
from runner.errors import EdgepackError
from runner.progress import Advance, Progress, Silent
from runner.worker import claim_stdout, die_with

TELL_S = 0.1
SACRIFICE = "500"
"""Of -1000 to 1000, added to what Linux chooses by whom it kills where memory runs out: rather this than the pack."""
HERE = "built in pack's own process"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What artifacts are built on: the networks of one recipe, by their keys."""

    work: Workbench
    networks: dict[str, Network] = field(default_factory=dict)


def main(parent: int) -> None:
    """Do what stdin says."""
    die_with(parent)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(SACRIFICE, encoding="ascii")
    with claim_stdout() as stdout:
        shown, bench = Relay(stdout), None
        for text in sys.stdin:
            told = codec.read_json(Told, text)
            if told.start is not None:
                bench = None  # of another recipe, whose networks would lie in memory beside these
                bench = _prepared(told.start, shown)
                shown.tell(Line(ready=bench is not None))
            if told.order is not None:
                shown.tell(_built(told.order, bench) if bench else Line(built=False))


def prepared(start: Start, progress: Progress) -> Bench:
    """Make the networks of a recipe again. Raises EdgepackError where a training of theirs is not in the cache."""
    finished = Cache(folder=Path(start.cache), complete=True)
    loaded, work = origin.opened(start.recipe, finished, Silent())
    trained = network.trained(loaded, work)
    found = (trained, *branches.networks(trained, work).values())
    work = replace(work, cache=Cache(folder=finished.folder), progress=progress, journal=Journal(progress))
    return Bench(work=work, networks={each.key: each for each in found})


def _prepared(start: Start, shown: "Relay") -> Bench | None:
    try:
        return prepared(start, shown)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything, at the second time too
        shown.say(f"note: artifacts are {HERE}: its network cannot be made again: {_failed(error).what}")
        return None


def _built(order: Order, bench: Bench) -> Line:
    networks = bench.networks
    if order.network not in networks or order.teacher not in networks:
        bench.work.progress.say(f"note: {HERE}: made again, its network is another")
        return Line(built=False)
    context = BuildContext(
        name=order.variant,
        network=networks[order.network],
        teacher=networks[order.teacher],
        quantize=order.quantize,
        bench=replace(bench.work, recipe=order.recipe),
    )
    try:
        artifacts.build(order.candidate, context, order.target)
    except Exception as error:  # noqa: BLE001 - converters may raise anything
        if os.environ.get(DEBUG):
            traceback.print_exc()
        return Line(failed=_failed(error))
    return Line(built=True)


def _failed(error: Exception) -> Failed:
    if isinstance(error, EdgepackError):
        return Failed(what=error.what, where=error.where, advice=error.advice)
    return Failed(what=journal.unexpected(error), where="", advice=journal.SHOWN)


class Relay:
    """A Progress that the parent shows."""

    def __init__(self, stdout: TextIO) -> None:
        self._stdout = stdout

    def tell(self, line: Line) -> None:
        """Write a line."""
        self._stdout.write(codec.write_json(line))
        self._stdout.flush()

    @contextlib.contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work there."""
        self.tell(Line(opened=Opened(title=title, total=total)))
        untold, told_s = 0, time.monotonic()

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal untold, told_s
            untold += steps
            if time.monotonic() - told_s > TELL_S:
                self.tell(Line(advanced=Advanced(steps=untold, note=note)))
                untold, told_s = 0, time.monotonic()

        try:
            yield advance
        finally:
            self.tell(Line(closed=True))

    def say(self, message: str) -> None:
        """Have one line shown that stays."""
        self.tell(Line(said=message))
