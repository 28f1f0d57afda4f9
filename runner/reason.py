"""Why a figure is missing, doubtful or void: data, from which every text about it is made."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["note", "caveat", "invalid"]
Status = Literal["valid", "caveats", "invalid"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Reason:
    """Why a figure is missing, doubtful or void."""

    code: str
    """Stable, for programs: `emulated`, `no-runtime`, `few-processes` …"""
    level: Level
    detail: str
    evidence: dict[str, float] = field(default_factory=dict)
    """The figures that it follows from, by name."""
    advice: str = ""

    @property
    def line(self) -> str:
        """All of it that a person reads."""
        level = "" if self.level == "note" else f"{self.level}: "
        return f"{level}{self.detail}" + (f"; try: {self.advice}" if self.advice else "")


def worst(reasons: Iterable[Reason]) -> Status:
    """Return what figures are worth of which these things are said: the worst of them."""
    levels = {reason.level for reason in reasons}
    return "invalid" if "invalid" in levels else "caveats" if "caveat" in levels else "valid"
