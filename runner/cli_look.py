"""How both command lines show a page: in bold and as wide as the stream that it goes to lets it."""

from typing import TYPE_CHECKING, TextIO

import click

from runner import edge

if TYPE_CHECKING:
    from runner.output import Look


def look(stream: TextIO, *, as_json: bool = False, as_markdown: bool = False) -> "Look":
    """Return how a document is shown on a stream."""
    from runner.output import Look  # noqa: PLC0415 - heavy
    from runner.render.page import WIDTH  # noqa: PLC0415 - heavy

    return Look(
        style="json" if as_json else "markdown" if as_markdown else "text",
        emphasis=_bold if edge.colour(stream) else str,
        width=edge.columns(stream, WIDTH),
    )


def _bold(text: str) -> str:
    return click.style(text, bold=True)
