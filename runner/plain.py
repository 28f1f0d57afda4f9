"""Text that others wrote, such as a report or a board: what would steer a terminal is shown instead of obeyed."""

import re

STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Control characters of C0 and C1, but for the tab and the end of a line."""


def plain(text: str) -> str:
    """Return the text with each control character as Python writes it."""
    return STEERING.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
