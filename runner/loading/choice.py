"""Which artifact was loaded, and why this one."""

from dataclasses import dataclass

from runner.errors import EdgepackError


@dataclass(frozen=True, kw_only=True, slots=True)
class PassedOver:
    """An artifact that came before the one that was loaded, and what was wrong with it here."""

    name: str
    error: EdgepackError

    @property
    def line(self) -> str:
        """All of it in a few words."""
        return f"{self.name}: {self.error.what}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """The artifact that was loaded."""

    name: str
    reason: str
    passed_over: tuple[PassedOver, ...]
    advice: str
    """How to choose better; empty where nothing speaks against the choice."""
    threads: int
    """Of the runtime."""

    def __str__(self) -> str:
        others = "".join(f"\n  passed over {each.line}" for each in self.passed_over)
        hint = f"\n  try: {self.advice}" if self.advice else ""
        return f"{self.name}: {self.reason}{others}{hint}"
