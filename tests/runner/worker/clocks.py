"""A clock that only goes on when it is read or told to, for code that takes times."""

from dataclasses import dataclass


@dataclass
class FakeClock:
    """Stands for `time.perf_counter_ns`."""

    reading_ns: int = 50
    """What it takes to read it."""
    tick_ns: int = 1
    """It shows whole ticks only."""
    now_ns: int = 1_000_000_000

    def __call__(self) -> int:
        """Return the time."""
        self.now_ns += self.reading_ns
        return self.now_ns // self.tick_ns * self.tick_ns

    def pass_by(self, nanoseconds: int) -> None:
        """Let time go by."""
        self.now_ns += nanoseconds
