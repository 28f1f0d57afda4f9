"""Several boards at once: each has its own attempts, and none waits for another."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from packager.remote import bench, failures
from packager.remote.bench import Measured, Order
from packager.remote.destination import Destination
from packager.remote.display import Display
from packager.remote.result import BoardResult, failure
from runner.compare import compare
from runner.compare.comparison import Comparison, Limits, Margins
from runner.edge import INTERRUPTED
from runner.errors import EdgepackError, MeasurementError
from runner.progress import Progress
from runner.report import Report
from runner.report_file import report_file

LOOK_S = 0.2
MOST_WAIT_S = 60.0
"""Between two attempts: as long as most boards take to start again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetOrder:
    """What is to be done on all boards, and with what they bring back."""

    order: Order
    host: Report | None
    """What their reports are held against; None where the bundle has no host report."""
    limits: Limits
    margins: Margins
    output: Path
    """A folder for their reports."""
    retries: int = 2
    first_wait_s: float = 2.0
    """Before the second attempt; doubled before each that follows, up to MOST_WAIT_S."""
    jobs: int = 32
    """How many boards at once."""


def run(destinations: Sequence[Destination], order: FleetOrder, display: Display) -> tuple[BoardResult, ...]:
    """Have every board measure the bundle, and return what came of each, in their order.

    After Ctrl-C each board is asked to end, and what it has by then is brought back.
    """
    ending = threading.Event()
    with ThreadPoolExecutor(max_workers=min(order.jobs, len(destinations))) as pool:
        futures: list[Future[BoardResult]] = []

        def work() -> None:
            for each in destinations[len(futures) :]:
                futures.append(pool.submit(_board, each, order, display, ending))
            _wait(futures)

        try:
            work()
        except KeyboardInterrupt:
            ending.set()
            display.say("interrupted: the boards are asked to end, and their reports are brought back")
            work()
    return tuple(future.result() for future in futures)


def _wait(futures: Sequence[Future[BoardResult]]) -> None:
    while wait(futures, timeout=LOOK_S).not_done:
        pass


def _board(destination: Destination, order: FleetOrder, display: Display, ending: threading.Event) -> BoardResult:
    """Do one board's part, whatever becomes of the others."""
    began_s = time.monotonic()
    with display.board(destination.name) as progress:
        result = _attempts(destination, order, progress, ending)
        done = replace(result, duration_s=time.monotonic() - began_s)
        progress.say(_told(done))
    return done


def _attempts(destination: Destination, order: FleetOrder, progress: Progress, ending: threading.Event) -> BoardResult:
    result = BoardResult(name=destination.name, attempts=0, duration_s=0.0)
    while True:
        result = replace(result, attempts=result.attempts + 1)
        try:
            found = bench.attempt(destination, order.order, progress, ending.is_set)
            return _held(result, found, destination, order)
        except OSError as error:
            what = f"{error.filename or 'the line'}: {error.strerror or error}"
            failed = MeasurementError(what, where=destination.name)
            return replace(result, failure=failure(failed), exit_code=failed.exit_code)
        except EdgepackError as error:
            again = isinstance(error, failures.WORTH_ANOTHER) and result.attempts <= order.retries
            if not again or ending.is_set():
                code = INTERRUPTED if ending.is_set() else error.exit_code
                return replace(result, failure=replace(failure(error), exit_code=code), exit_code=code)
            wait_s = min(order.first_wait_s * 2 ** (result.attempts - 1), MOST_WAIT_S)
            progress.say(f"{error.what}; trying again in {wait_s:g} s")
            ending.wait(wait_s)


def report_path(folder: Path, destination: Destination) -> Path:
    """Return where a board's report goes."""
    return folder / f"{destination.slug}.report.json"


def _held(result: BoardResult, found: Measured, destination: Destination, order: FleetOrder) -> BoardResult:
    """Write a board's report, and hold it against the host's."""
    file = report_file(report_path(order.output, destination)).write(found.report)
    judged: Comparison | None = None
    if order.host:
        judged = compare(order.host, found.report, order.limits, order.margins)
    return replace(
        result,
        copied=found.copied,
        report=found.report,
        report_file=str(file),
        comparison=judged,
        divergences=found.divergences,
        failure=failure(found.failure) if found.failure else None,
        exit_code=found.failure.exit_code if found.failure else found.exit_code,
    )


def _told(result: BoardResult) -> str:
    if result.failure:
        return f"error: {result.failure.what}"
    return f"report: {result.report_file}"
