"""One board's story: reach it, take the bundle there, run it, bring the report back, and leave nothing behind."""

from collections.abc import Callable
from dataclasses import dataclass

from packager.remote import failures, link, running
from packager.remote.agent.place import TEMPORARY
from packager.remote.destination import Destination
from packager.remote.line import Patience
from packager.remote.link import Board
from packager.remote.messages import BoardFacts
from runner import install, report
from runner.bundle import Bundle
from runner.errors import BundleError, RuntimeUnavailable
from runner.progress import Progress
from runner.report import Report
from runner.runtimes import KNOWN

BUNDLE = "net.edgepack"
REPORT = f"{TEMPORARY}/report.json"
"""Where no report of an earlier attempt can be found."""
SPARE_BYTES = 64 << 20
"""What a run needs on the disk beside the bundle, its artifacts unpacked included, as far as it is not their size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be done on each board."""

    bundle: Bundle
    artifacts: tuple[str, ...]
    arguments: tuple[str, ...]
    """For the runner there."""
    keep: bool = False
    timeout_s: float | None = None
    """For the run on one board."""
    patience: Patience


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What one attempt brought back."""

    report: Report
    exit_code: int
    copied: bool


def attempt(
    destination: Destination, order: Order, progress: Progress, wants_end: Callable[[], bool] = link.never
) -> Measured:
    """Have a board measure the bundle, once. Raises EdgepackError."""
    session = f"{order.bundle.id[:12]}-{destination.slug}"
    with link.connect(destination, session, order.patience, wants_end) as board:
        board.keep = order.keep
        check(board.facts, order, destination.name)
        copied = _copy(board, order.bundle, progress)
        ended = running.run(board, [link.PYTHON, BUNDLE, "-o", REPORT, *order.arguments], progress, order.timeout_s)
        return Measured(report=_report(board, order, ended), exit_code=ended.exit_code, copied=copied)


def check(facts: BoardFacts, order: Order, name: str) -> None:
    """Refuse, before anything is copied, a board that cannot run any of it. Raises RuntimeUnavailable and Refusal."""
    chosen = [each for each in order.bundle.manifest.artifacts if each.name in order.artifacts or not order.artifacts]
    packages = dict.fromkeys(KNOWN[each.format].package for each in chosen)
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


def interpreter(facts: BoardFacts) -> install.Interpreter:
    """Return a board's Python, as far as it decides what can be installed for it."""
    major, minor = (int(part) for part in facts.python.split(".")[:2])
    return install.Interpreter(
        machine=facts.machine,
        bits=facts.bits,
        version=(major, minor),
        executable=facts.executable,
        musl=not facts.libc.startswith("glibc"),
        in_venv=facts.in_venv,
        managed=facts.externally_managed,
        has_pip=facts.has_pip,
        has_venv=facts.has_ensurepip,
    )


def _copy(board: Board, bundle: Bundle, progress: Progress) -> bool:
    """Take the bundle to a board, and return whether it was not there yet."""
    before = 0
    with progress.task("copy", bundle.size_bytes) as advance:

        def done(there: int) -> None:
            nonlocal before
            advance(there - before)
            before = there

        return not board.put(bundle.path, BUNDLE, done)


def _report(board: Board, order: Order, ended: running.Ended) -> Report:
    """Bring the report back; one of a run that was interrupted as well. Raises EdgepackError where there is none."""
    try:
        data = board.get(REPORT)
    except failures.Refusal:
        raise ended.error(board.name) from None
    found = report.read(data, f"{board.name}: report")
    if found.bundle_id != order.bundle.id:
        raise BundleError(f"what ran there is the bundle {found.bundle_id[:12]}, and not this one", where=board.name)
    return found


def _mib(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):,.0f}"
