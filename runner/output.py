"""What a command gives to be shown, and how. Light: also for a machine without numpy."""

from dataclasses import dataclass
from typing import Literal

from runner import codec
from runner.render.page import WIDTH, Emphasis, Page, as_markdown, as_text

Style = Literal["text", "markdown", "json"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Output:
    """What goes to stdout, and the exit code after it."""

    text: str
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """How a document is shown."""

    style: Style
    emphasis: Emphasis = str
    width: int = WIDTH
    """Of text, in columns."""

    def show(self, document: object, page: Page) -> str:
        """Return the document as JSON, or the page that was made of it."""
        if self.style == "json":
            return codec.write_json(document, indent=2)
        return as_markdown(page) if self.style == "markdown" else as_text(page, self.emphasis, self.width)
