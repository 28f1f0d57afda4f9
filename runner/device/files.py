"""Small files of /proc and /sys: what is absent, unreadable or garbage is None, never 0."""

import math
from collections.abc import Mapping
from pathlib import Path


def read_text(path: Path) -> str | None:
    """Return a file's text without the spaces and zeros around it."""
    try:
        return path.read_bytes().decode(errors="replace").strip("\0 \n")
    except OSError:
        return None


def number(text: str | None) -> float | None:
    """Return the finite number that a text is."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def count(text: str | None) -> int | None:
    """Return the whole number, 0 or more, that a text is."""
    return int(text) if text and text.isascii() and text.isdigit() else None


def read_number(path: Path) -> float | None:
    """Return the finite number that is all of a file."""
    return number(read_text(path))


def read_count(path: Path) -> int | None:
    """Return the whole number, 0 or more, that is all of a file."""
    return count(read_text(path))


def read_pairs(path: Path) -> Mapping[str, str]:
    """Return the first value of each line `key value …` or `key: value …`; of repeated keys the last."""
    rows = (line.replace(":", " ", 1).split() for line in (read_text(path) or "").splitlines())
    return {row[0]: row[1] for row in rows if len(row) > 1}


def cpu_list(text: str | None) -> tuple[int, ...]:
    """Return the numbers of a list such as `0-3,8`; nothing where it is none."""
    ranges = [part.strip().partition("-") for part in (text or "").split(",")]
    pairs = [(count(first), count(last or first)) for first, _, last in ranges]
    found: list[int] = []
    for first, last in pairs:
        if first is None or last is None:
            return ()
        found += range(first, last + 1)
    return tuple(found)
