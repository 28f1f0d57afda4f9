"""A thread that does one thing again and again, at even intervals."""

import threading
import time
from collections.abc import Callable


class Ticker:
    """Calls `act` every `period_s` from start to stop; what it calls must not raise."""

    def __init__(self, act: Callable[[], None], period_s: float) -> None:
        self._act = act
        self._period_s = period_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Begin; the first call comes after one period."""
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for a call that is under way."""
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic() + self._period_s
        while not self._ended.wait(max(0.0, due - time.monotonic())):
            self._act()
            # Ticks that a stopped process slept through are left out, not made up for in a burst.
            due = max(due + self._period_s, time.monotonic())
