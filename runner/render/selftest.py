"""A self-test as a page: what was found where nothing was changed, and where something was."""

from runner.render import units
from runner.render.page import Page, Table, Title
from runner.selftest import Rate, SelfTest


def selftest_page(found: SelfTest) -> Page:
    """Return a self-test as a page."""
    return (
        Title(text=f"How well {found.device} can be measured"),
        Table(
            columns=("sessions", "injected", "pairs", "found", "rate", "95 % interval", "ratios"),
            rows=tuple(_row(rate) for rate in found.rates if rate.words),
            left=2,
        ),
        f"{found.artifact}, {found.threads} thread{'s' if found.threads > 1 else ''}. What is found where nothing was "
        "injected is a false alarm.",
        f"Noise floor between two separate sessions: {units.percent(found.floor)}. Smaller differences are told from "
        "noise only by `bench-runner ab`, which takes turns.",
    )


def _row(rate: Rate) -> tuple[str, ...]:
    interval, count = rate.interval, len(rate.words)
    return (
        "in turn" if rate.interleaved else "separate",
        units.signed_percent(rate.slowdown) if rate.slowdown else "nothing",
        str(count),
        str(rate.found),
        units.percent(rate.found / count, 0),
        f"{units.percent(interval.low, 1)} to {units.percent(interval.high, 1)}",
        f"{min(rate.ratios):.3f}x to {max(rate.ratios):.3f}x",
    )
