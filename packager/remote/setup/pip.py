"""What pip says when it fails, and what to do about it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal["network", "no-wheel", "no-space", "refused", "other"]

SIGNS: tuple[tuple[Cause, tuple[str, ...]], ...] = (
    ("no-space", ("No space left on device", "Errno 28", "Disk quota exceeded")),
    (
        "network",
        (
            "Failed to establish a new connection",
            "Temporary failure in name resolution",
            "Name or service not known",
            "Network is unreachable",
            "ConnectTimeoutError",
            "Connection refused",
            "Read timed out",
            "No route to host",
            "ProxyError",
        ),
    ),
    ("refused", ("CERTIFICATE_VERIFY_FAILED", "401 Error", "403 Error", "407 ")),
    ("no-wheel", ("No matching distribution found", "Could not find a version")),
)
"""Words by which a cause is told, those first that make pip say the later ones too."""

REFUSED_CALL = re.compile(r"\[Errno -?\d+\] ([^'\")]+)'?\)")
"""Of all that pip repeats when it reaches nothing, the system's own words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PipFailure:
    """Why pip failed."""

    cause: Cause
    line: str
    """The one that says most."""


def failure(lines: Sequence[str]) -> PipFailure:
    """Return why pip failed, by the lines that it printed."""
    told = [line.strip() for line in lines if line.strip() and not line.startswith("[notice]")]
    for cause, signs in SIGNS:
        found = [line for line in told if any(sign in line for sign in signs)]
        if found:
            return PipFailure(cause=cause, line=_plain(found[-1] if cause != "no-wheel" else found[0]))
    errors = [line for line in told if line.startswith("ERROR:")]
    return PipFailure(cause="other", line=_plain((errors or told or ["pip said nothing"])[-1]))


def _plain(line: str) -> str:
    """Leave out pip's own mark, and what makes a line too long to be read."""
    if found := REFUSED_CALL.search(line):
        return found[1]
    text = line.removeprefix("ERROR:").removeprefix("WARNING:").strip()
    return text if len(text) <= 300 else text[:297] + "..."
