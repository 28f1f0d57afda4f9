"""A contender without a process: it answers from a script, and all of them write down what is done to them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.conversation import FailedError


@dataclass(kw_only=True)
class Script:
    """What one contender does."""

    call_ns: int = 1000
    fails_to: str = ""
    """The request that it fails."""
    answers: NDArray[np.float32] | None = None


@dataclass(kw_only=True)
class Talker:
    """Answers, or fails, as its script says."""

    name: str
    script: Script
    told: list[str] = field(default_factory=list)
    """Shared: `name what`, in the order in which it happened."""

    def ask(self, request: Mapping[str, object], limit_s: float) -> Mapping[str, object]:
        """Answer a request."""
        what = str(request["do"])
        self.told.append(f"{self.name} {what}")
        if what == self.script.fails_to:
            raise FailedError(f"cannot {what} within {limit_s:.0f} s")
        if what == "answer":
            assert self.script.answers is not None
            np.save(Path(str(request["output"])), self.script.answers)
        if what == "load":
            return {"version": f"{self.name} 1.0"}
        return {"samples_ns": [self.script.call_ns, self.script.call_ns + 2]} if what == "time" else {"done": True}

    def pause(self) -> None:
        """Note it."""
        self.told.append(f"{self.name} pause")

    def resume(self) -> None:
        """Note it."""
        self.told.append(f"{self.name} resume")

    def end(self) -> None:
        """Note it."""
        self.told.append(f"{self.name} end")
