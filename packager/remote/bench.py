"""One board's story: reach it, take the bundle there, run it, bring the report back, and leave nothing behind."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

from packager.explain import Divergence
from packager.remote import failures, link, running, setup
from packager.remote.agent.place import TEMPORARY
from packager.remote.board import interpreter
from packager.remote.destination import Destination
from packager.remote.explaining import divergences
from packager.remote.line import Patience
from packager.remote.link import Board
from packager.remote.messages import BoardFacts
from runner import install, report_reader, verify
from runner.bundle import Bundle
from runner.edge import INTERRUPTED
from runner.errors import BundleError, EdgepackError, RuntimeUnavailable
from runner.manifest import Format
from runner.progress import Progress
from runner.report import Report
from runner.runtimes import KNOWN

BUNDLE = "net.edgepack"
REPORT = f"{TEMPORARY}/report.json"
"""Where no report of an earlier attempt can be found."""
SPARE_BYTES = 64 << 20
"""What a run needs on the disk beside the bundle, its artifacts unpacked included, as far as it is not their size."""
MOST_CODE = 255
"""The largest exit code that a system has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be done on each board."""

    bundle: Bundle
    artifacts: tuple[str, ...]
    arguments: tuple[str, ...]
    """For the runner there."""
    keep: bool = False
    setup: Literal["online", "offline"] | None = None
    """Prepare a board that lacks something; offline with wheels from here."""
    explain: bool = False
    """Name the first layer that a board computes otherwise than the host, where answers differ."""
    timeout_s: float | None = None
    """For the run on one board."""
    patience: Patience


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one attempt brought back."""

    report: Report
    exit_code: int
    copied: bool
    python: str
    """What it was run with there."""
    divergences: tuple[Divergence, ...] | None = None
    """None where it was not asked for."""
    failure: EdgepackError | None = None
    """Of a run that did not come to its end, or of what was to follow it."""


def attempt(
    destination: Destination,
    order: Order,
    progress: Progress,
    wants_end: Callable[[], bool] = link.never,
    brought: Callable[[Report], None] = lambda _: None,
) -> Measured:
    """Have a board measure the bundle, once; `brought` is given the report as soon as it is here.

    Raises EdgepackError.
    """
    session = f"{order.bundle.id[:12]}-{destination.slug}"
    measured: Measured | None = None
    try:
        with ExitStack() as stack:
            with progress.task("connect", 0):
                board = stack.enter_context(link.connect(destination, session, order.patience, wants_end))
            board.keep = (BUNDLE,) if order.keep else ()
            measured = _measured(board, order, progress)
            brought(measured.report)
            if order.explain and measured.report.complete and not measured.failure:
                measured = _explained(board, order, measured, progress)
    except failures.Lost as error:
        if measured is None:
            raise
        progress.say(f"{error.what}, after the report had come: what was brought there goes by itself, in a while")
    return measured


def _measured(board: Board, order: Order, progress: Progress) -> Measured:
    """Take the bundle to a board that can run it, run it, and bring the report back."""
    python, facts = link.PYTHON, board.facts
    if order.setup:
        prepared = setup.prepare(board, _formats(order), progress, offline=order.setup == "offline")
        python, facts = prepared.python, replace(facts, packages=prepared.packages)
    check(facts, order, board.name)
    copied = _copy(board, order.bundle, progress)
    ended = running.run(board, [python, BUNDLE, "-o", REPORT, *order.arguments], progress, order.timeout_s)
    found = _report(board, order, ended)
    failure = None if _in_order(found, ended) else ended.error(board.name)
    return Measured(report=found, exit_code=ended.exit_code, copied=copied, python=python, failure=failure)


def _explained(board: Board, order: Order, measured: Measured, progress: Progress) -> Measured:
    """Add how the layers differ; where that fails, the report is there all the same."""
    try:
        source = (order.bundle, BUNDLE)
        found = tuple(divergences(board, measured.python, source, measured.report, progress))
    except EdgepackError as error:
        return replace(measured, failure=error)
    return replace(measured, divergences=found)


def check(facts: BoardFacts, order: Order, name: str) -> None:
    """Refuse, before anything is copied, a board that cannot run any of it. Raises RuntimeUnavailable and Refusal."""
    packages = [KNOWN[each].package for each in _formats(order)]
    absent = [package for package in packages if package not in facts.packages]
    if "numpy" not in facts.packages or len(absent) == len(packages):
        needed = [package for package in ("numpy", *absent[:1]) if package not in facts.packages]
        found = install.remedy(needed, interpreter(facts))
        what = found.problem or f"{' and '.join(needed)} {'are' if len(needed) > 1 else 'is'} not installed there"
        raise RuntimeUnavailable(what, where=name, advice=f"{found.advice}; or `pack bench ... --setup`")
    needs = 2 * order.bundle.size_bytes + SPARE_BYTES
    if facts.free_bytes < needs:
        what = f"{_mib(facts.free_bytes)} MiB are free at {facts.cache}, and the run needs {_mib(needs)} MiB"
        raise failures.Refusal(what, where=name, advice="free some space there")


def _formats(order: Order) -> tuple[Format, ...]:
    """Return the formats of the artifacts that are to be measured."""
    chosen = [each for each in order.bundle.manifest.artifacts if each.name in order.artifacts or not order.artifacts]
    return tuple(dict.fromkeys(each.format for each in chosen))


def _copy(board: Board, bundle: Bundle, progress: Progress) -> bool:
    """Take the bundle to a board, and return whether it was not there yet."""
    with progress.task("copy", bundle.size_bytes) as advance:
        return not board.put(bundle.path, BUNDLE, link.growing(advance))


def _report(board: Board, order: Order, ended: running.Ended) -> Report:
    """Bring the report back; one of a run that was interrupted as well. Raises EdgepackError where there is none."""
    try:
        data = board.get(REPORT)
    except failures.Refusal:
        raise ended.error(board.name) from None
    found = report_reader.read(data, f"{board.name}: report")
    if found.bundle_id != order.bundle.id:
        raise BundleError(f"what ran there is the bundle {found.bundle_id[:12]}, and not this one", where=board.name)
    # A board that is broken may seal what it did not measure.
    verify.hold(found, f"{board.name}: report")
    return found


def _in_order(found: Report, ended: running.Ended) -> bool:
    """Tell whether a run came to its end, or was asked to stop: what was killed leaves a part of a report too."""
    return ended.exit_code == INTERRUPTED or (found.complete and 0 <= ended.exit_code <= MOST_CODE)


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.0f}"
