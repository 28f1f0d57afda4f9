"""The gate before each worker process: none starts on a machine that is hotter than the first one found it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from runner.process import Counters

WARMER_C = 5.0
"""By how much the machine may be warmer than at the start of the run."""
MOST_S = 30.0
"""No longer is waited for: a board in the sun never gets there, and that it did not is a caveat."""
STEP_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Gate:
    """Waits until the machine has cooled down."""

    read: Callable[[], Counters]
    start: Counters
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def wait(self, tell: Callable[[str], None]) -> float:
        """Return for how many seconds it was waited; none where nothing tells the temperature.

        `tell` hears what is waited for.
        """
        awaited = self._awaited()
        if not awaited:
            return 0.0
        began = self.clock()
        while awaited and self.clock() - began < MOST_S:
            tell(awaited)
            self.sleep(STEP_S)
            awaited = self._awaited()
        return round(self.clock() - began, 3)

    def _awaited(self) -> str:
        """Return what has to pass before the next process, or nothing."""
        now, start = self.read(), self.start
        # A board that was slowed down from the start stays so: its figures are void, and no wait mends them.
        if (now.throttled_now or 0) & ~(start.throttled_now or 0):
            return "waits until the board is no longer slowed down"
        if now.temperature_c is None or start.temperature_c is None:
            return ""
        limit_c = start.temperature_c + WARMER_C
        return f"cools down from {now.temperature_c:.0f} to {limit_c:.0f} °C" if now.temperature_c > limit_c else ""
