"""The search's memory: a file of JSON lines, written as each trial ends, which the same search goes on from.

Not optuna's, as that of `pack tune`: what is tried next follows from the lines, and nothing is drawn.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from packager.optimise.evidence import Evidence
from packager.recipe import Assignment
from runner import codec
from runner.errors import StepError
from runner.interval import Interval
from runner.packing import Drop, Speed


@dataclass(frozen=True, kw_only=True, slots=True)
class Profiled:
    """The profile that proposals are ranked by."""

    evidence: Evidence
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """A proposal that was tried."""

    what: str
    assignment: Assignment
    ratio: float | None = None
    """By what factor it takes longer than what was best before it; None where it could not be run."""
    interval: Interval | None = None
    drop: Drop | None = None
    """On the validation split; None where it was not faster."""
    accepted: bool = False
    reason: str = ""
    duration_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Confirmed:
    """What was best, held once more against the network in fp32."""

    assignment: Assignment
    speeds: tuple[Speed, ...]
    faster: bool
    duration_s: float


Line = Profiled | Outcome | Confirmed


@dataclass(frozen=True, kw_only=True, slots=True)
class _Written:
    """A line of the file: one of the three."""

    profiled: Profiled | None = None
    outcome: Outcome | None = None
    confirmed: Confirmed | None = None


class Study:
    """One search, in a file of its own."""

    def __init__(self, path: Path) -> None:
        """Open it, or begin it. Raises StepError where it cannot be read."""
        self.path = path
        self.lines: list[Line] = []
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_bytes() if path.exists() else b""
            # What a crash has left of a line is no line.
            whole = text[: text.rfind(b"\n") + 1]
            if len(whole) < len(text):
                os.truncate(path, len(whole))
            for line in whole.splitlines():
                found = codec.read_json(_Written, line)
                self.lines += [each for each in (found.profiled, found.outcome, found.confirmed) if each]
        except (OSError, codec.InvalidDocumentError) as error:
            what = f"the record of the search cannot be used: {str(error).splitlines()[0]}"
            raise StepError(what, where=str(path), advice="remove it, and the search begins anew") from None

    def write(self, line: Line) -> None:
        """Write down one line, so that it is there whatever comes after. Raises StepError."""
        written = _Written(
            profiled=line if isinstance(line, Profiled) else None,
            outcome=line if isinstance(line, Outcome) else None,
            confirmed=line if isinstance(line, Confirmed) else None,
        )
        try:
            with self.path.open("ab") as file:
                file.write(codec.write_json(written).strip().encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            what = f"the record of the search cannot be written: {error.strerror}"
            raise StepError(what, where=str(self.path), advice="free some space, or --no-cache") from None
        self.lines.append(line)

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The trials so far."""
        return tuple(line for line in self.lines if isinstance(line, Outcome))

    @property
    def evidence(self) -> Evidence | None:
        """The profile, where there is one yet."""
        return next((line.evidence for line in self.lines if isinstance(line, Profiled)), None)

    @property
    def spent_s(self) -> float:
        """How long it has taken, over all of its runs."""
        return sum(line.duration_s for line in self.lines)
