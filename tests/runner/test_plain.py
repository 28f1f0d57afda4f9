"""Nothing that a board or a report says steers the terminal that shows it."""

import io

import pytest

from runner import edge
from runner.errors import EdgepackError
from runner.plain import plain
from runner.render.page import Listing, Page, Table, Title, as_markdown, as_text
from runner.terminal import Terminal
from tests.runner.test_edge import raising

RETITLES = "\x1b]0;owned\x07"
SHOWN = "\\x1b]0;owned\\x07"


def test_letters_of_any_alphabet_tabs_and_ends_of_lines_stay() -> None:
    assert plain("Größe 日本 — µ\t1\n2") == "Größe 日本 — µ\t1\n2"
    assert plain("\r\x00\x7f\x9b2J") == "\\x0d\\x00\\x7f\\x9b2J"


def test_a_page_shows_it() -> None:
    page: Page = (
        Title(text=RETITLES),
        Listing(head=RETITLES, lines=(RETITLES,)),
        Table(columns=("name",), rows=((RETITLES,),)),
        RETITLES,
    )
    for text in (as_text(page), as_markdown(page)):
        assert "\x1b" not in text
        assert text.count("x1b]0;owned") == 5
    assert as_text(page, emphasis=lambda title: f"\x1b[1m{title}\x1b[0m").startswith(f"\x1b[1m{SHOWN}\x1b[0m\n")


def test_an_error_and_a_log_show_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert edge.run(raising(EdgepackError(RETITLES, where="pi")), [], program="pack") == 5
    assert capsys.readouterr().err == f"error: pi: {SHOWN}\n"
    stream = io.StringIO()
    Terminal(stream).say(RETITLES)
    assert stream.getvalue() == f"{SHOWN}\n"
