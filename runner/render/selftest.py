"""A self-test as a page: what was found where nothing was changed, and where something was."""

from collections.abc import Iterator

from runner.render import units
from runner.render.page import Listing, Page, Table, Title
from runner.selftest import MARGIN, Rate, SelfTest


def selftest_page(found: SelfTest) -> Page:
    """Return a self-test as a page."""
    return (
        Title(text=f"How well {found.device} can be measured"),
        *_table(found),
        f"{found.artifact}, {_threads(found)}. What is found where nothing was "
        f"injected is a false alarm. A difference must exceed {units.percent(MARGIN, 0)}, or the noise floor where "
        "that is larger: what such a floor may hide is inconclusive, never equivalent. `compare` went by a floor of "
        f"{units.percent(found.applied)} until now; without one the statistics speak alone.",
        *_troubles(found),
        *_floor(found),
    )


def _table(found: SelfTest) -> Iterator[Table | str]:
    rows = tuple(_row(rate) for rate in found.rates if rate.words)
    if not rows:
        yield "No pair of sessions was whole."
        return
    yield Table(
        columns=(
            "sessions",
            "injected",
            "noise floor",
            "pairs",
            "found",
            "equivalent",
            "inconclusive",
            "rate",
            "95 % interval",
            "ratios",
        ),
        rows=rows,
        left=3,
    )


def _troubles(found: SelfTest) -> Iterator[str]:
    """Yield what the rates are not made of, and should be."""
    if not found.complete:
        yield "Incomplete: the self-test was interrupted, and these are the pairs that were whole by then."
    lost = sum({(rate.interleaved, rate.slowdown): rate.lost for rate in found.rates}.values())
    if lost:
        yield f"{lost} pair{'s were' if lost > 1 else ' was'} lost, for too many of the worker processes died."
    wrong = sum(rate.words.count("faster") for rate in found.rates if rate.slowdown and not rate.floor)
    if wrong:
        yield f"{wrong} pair{'s' if wrong > 1 else ''} with a slow-down injected was called faster."


def _floor(found: SelfTest) -> Iterator[str | Listing]:
    if found.floor is None:
        yield "Noise floor between two separate sessions: not known, for no pair of them was whole."
        return
    yield (
        f"Noise floor between two separate sessions: {units.percent(found.floor)}. It holds for sessions with "
        f"{_threads(found)} that follow each other; on another day, or after a reboot, they may differ by more. "
        "Smaller differences are told from noise only by `bench-runner ab`, which takes turns."
    )
    if found.reasons:
        head = "Seen of the machine, and in the sessions with nothing injected:"
        yield Listing(head=head, lines=tuple(reason.line for reason in found.reasons))


def _threads(found: SelfTest) -> str:
    return f"{found.threads} thread{'s' if found.threads > 1 else ''}"


def _row(rate: Rate) -> tuple[str, ...]:
    interval, count = rate.interval, len(rate.words)
    return (
        "in turn" if rate.interleaved else "separate",
        units.signed_percent(rate.slowdown) if rate.slowdown else "nothing",
        units.percent(rate.floor) if rate.floor else "none",
        str(count),
        str(rate.found),
        str(rate.words.count("equivalent")),
        str(rate.words.count("inconclusive")),
        units.percent(rate.found / count, 0),
        f"{units.percent(interval.low, 1)} to {units.percent(interval.high, 1)}",
        f"{min(rate.ratios):.3f}x to {max(rate.ratios):.3f}x",
    )
