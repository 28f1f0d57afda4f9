"""What the options of the device side are read as."""

import re
from decimal import Decimal, InvalidOperation

import click

NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9}


class Percentage(click.ParamType[float]):
    """A share such as `5%` or `0.05`, as a fraction."""

    name = "PERCENT"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the fraction; a bare number of 1 or more is refused, for it may be meant either way."""
        text = str(value).strip()
        try:
            number = Decimal(text.removesuffix("%").strip())
        except InvalidOperation:
            self.fail(f"{text!r} is no percentage: write 5% or 0.05", param, ctx)
        if not number.is_finite() or number < 0:
            self.fail(f"{text!r} is no limit: write 5% or 0.05", param, ctx)
        if not text.endswith("%") and number >= 1:
            self.fail(f"{text!r} may be meant either way: write {text}% or a fraction below 1", param, ctx)
        # Decimal, for 0.3 / 100 in binary need not be the number nearest to 0.003, and limits are held with equality.
        return float(number / 100 if text.endswith("%") else number)


class Counts(click.ParamType[tuple[int, ...]]):
    """One count or several, such as `1,8,32`."""

    name = "N,…"

    def __init__(self, most: int) -> None:
        self.most = most

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Return the counts in their order, each once."""
        if isinstance(value, tuple):
            return value
        allowed: click.ParamType[int] = click.IntRange(1, self.most)
        found = [allowed(part.strip(), param, ctx) for part in str(value).split(",")]
        return tuple(dict.fromkeys(found))


class Duration(click.ParamType[float]):
    """A time such as `5ms`, in nanoseconds."""

    name = "TIME"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the nanoseconds; a number without a unit is refused."""
        text = str(value).strip()
        found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(ns|us|µs|ms|s)", text)
        if found is None or not float(found[1]):
            self.fail(f"{text!r} is no time: write 5ms, 800us or 1.5s", param, ctx)
        return float(Decimal(found[1]) * NANOSECONDS[found[2]])
