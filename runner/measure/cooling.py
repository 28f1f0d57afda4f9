"""The gate before each worker process: none starts on a machine that is hotter than the first one found it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.process import Counters

WARMER_C = 5.0
"""By how much the machine may be warmer than at the start of the run."""
MOST_S = 30.0
"""No longer is waited for: a board in the sun never gets there, and says so by its figures."""
STEP_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Waits until the machine has cooled down."""

    read: Callable[[], Counters]
    start: Counters
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self) -> float:
        """Return for how many seconds it was waited; none where nothing tells the temperature."""
        if not self._is_hot():
            return 0.0
        began = self.clock()
        while self.clock() - began < MOST_S:
            self.sleep(STEP_S)
            if not self._is_hot():
                break
        return round(self.clock() - began, 3)

    def _is_hot(self) -> bool:
        now = self.read()
        if now.throttled_now:
            return True
        if now.temperature_c is None or self.start.temperature_c is None:
            return False
        return now.temperature_c > self.start.temperature_c + WARMER_C
