"""The steps of one pack: what has run, how long it took, and which one failed."""

import contextlib
import os
import time
from collections.abc import Iterator

from runner.edge import DEBUG
from runner.errors import EdgepackError, StepError
from runner.packing import StepRecord
from runner.progress import Progress

SHOWN = f"{DEBUG}=1 shows where it happened"


def unexpected(error: Exception) -> str:
    """Return what is told of an error that no step knows of, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split()) or 'no message'}"


class Journal:
    """Writes down each step as it ends, and names it where it fails."""

    def __init__(self, progress: Progress) -> None:
        self.records: list[StepRecord] = []
        self._progress = progress

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator["Step"]:
        """Run the body as the step `name`; what it raises tells the step, and what ran before it."""
        step, began = Step(), time.perf_counter()
        try:
            yield step
        except StepError as error:
            place = f"{error.where}: " if error.where else ""
            raise StepError(f"{place}{error.what}{self._past()}", where=name, advice=error.advice) from error
        except EdgepackError:
            raise
        except Exception as error:
            if os.environ.get(DEBUG):
                raise
            raise StepError(f"{unexpected(error)}{self._past()}", where=name, advice=SHOWN) from error
        record = StepRecord(step=name, duration_s=time.perf_counter() - began, cached=step.cached)
        self.records.append(record)
        self.say(name, "as before" if step.cached else f"{record.duration_s:.1f} s", step.note)

    def say(self, name: str, figure: str, note: str) -> None:
        """Show a line of the journal that stays."""
        self._progress.say(f"{name:<40}{figure:>10}  {note}".rstrip())

    def _past(self) -> str:
        done = ", ".join(record.step for record in self.records)
        return f"\n  ran before it: {done}" if done else ""


class Step:
    """What a step says of itself while it runs."""

    def __init__(self) -> None:
        self.cached = False
        self.note = ""
