"""Pages of titles, paragraphs, lists and tables, as aligned text and as Markdown."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from runner.plain import plain

GAP = "  "
WIDTH = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Title:
    """What the page is about, in one line."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """Lines that belong together, under a word of their own."""

    head: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """Named columns of cells: names to the left, figures to the right."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    """How many columns, from the first, are names."""
    best: int | None = None
    """The row that stands out."""


Block = Title | Listing | Table | str
Page = tuple[Block, ...]
Emphasis = Callable[[str], str]


def drop_empty_columns(table: Table, empty: str) -> Table:
    """Return the table without the columns in which no row has a figure."""
    kept = [i for i in range(len(table.columns)) if any(row[i] not in ("", empty) for row in table.rows)]
    return Table(
        columns=tuple(table.columns[i] for i in kept),
        rows=tuple(tuple(row[i] for i in kept) for row in table.rows),
        left=sum(i < table.left for i in kept),
        best=table.best,
    )


def as_text(page: Page, emphasis: Emphasis = str, width: int = WIDTH) -> str:
    """Return the page for a terminal or a log; `emphasis` is put on titles and on the best rows.

    Sentences are broken at `width` columns; tables are as wide as their figures.
    """
    return "\n\n".join("\n".join(_text_lines(block, emphasis, width)) for block in page) + "\n"


def as_markdown(page: Page) -> str:
    """Return the page as GitHub's Markdown has it."""
    return "\n\n".join("\n".join(_markdown_lines(block)) for block in page) + "\n"


def _text_lines(block: Block, emphasis: Emphasis, width: int) -> Iterator[str]:
    match block:
        case Title(text=text):
            yield emphasis(plain(text))
        case Listing(head=head, lines=lines):
            yield plain(head)
            for line in lines:
                yield from textwrap.wrap(
                    plain(line), width, initial_indent="  ", subsequent_indent="      ", break_on_hyphens=False
                )
        case Table():
            yield from _text_table(block, emphasis)
        case str():
            yield from textwrap.wrap(plain(block), width, break_on_hyphens=False)


def _text_table(table: Table, emphasis: Emphasis) -> Iterator[str]:
    rows = [tuple(map(plain, row)) for row in table.rows]
    widths = [max(map(len, column)) for column in zip(table.columns, *rows, strict=True)]
    yield GAP.join(_pad(table.columns, widths, table.left)).rstrip()
    yield "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
    for index, row in enumerate(rows):
        line = GAP.join(_pad(row, widths, table.left)).rstrip()
        yield emphasis(line) if index == table.best else line


def _markdown_lines(block: Block) -> Iterator[str]:
    match block:
        case Title(text=text):
            yield f"### {_escape(text)}"
        case Listing(head=head, lines=lines):
            yield f"{_escape(head)}\n"
            yield from (f"- {_escape(line)}" for line in lines)
        case Table():
            yield from _markdown_table(block)
        case str():
            yield _escape(block)


def _markdown_table(table: Table) -> Iterator[str]:
    rows = [tuple(map(_escape, row)) for row in table.rows]
    if table.best is not None:
        name, *figures = rows[table.best]
        rows[table.best] = (f"**{name}**", *figures)
    columns = tuple(map(_escape, table.columns))
    widths = [max(3, *map(len, column)) for column in zip(columns, *rows, strict=True)]
    rules = [":" + "-" * (w - 1) if i < table.left else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    for cells in (columns, rules, *rows):
        yield f"| {' | '.join(_pad(cells, widths, table.left))} |"


def _pad(cells: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for index, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        yield cell.ljust(width) if index < left else cell.rjust(width)


def _escape(text: str) -> str:
    """Keep Markdown from reading names and reasons as its own marks, and a terminal from obeying them."""
    text = plain(text)
    for mark in ("\\", "|", "*", "<", "`"):
        text = text.replace(mark, f"\\{mark}")
    return text
