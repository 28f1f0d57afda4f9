"""The memory of this process, as Linux tells it: now, and at its most since a border that we draw."""

from pathlib import Path

STATUS = Path("/proc/self/status")
CLEAR = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""What sets VmHWM back to the memory of now: proc_pid_clear_refs(5), Linux 4.0."""


def resident_bytes() -> int | None:
    """Return the resident memory, or None where it cannot be read."""
    return _status_bytes("VmRSS")


def swapped_bytes() -> int | None:
    """Return what of this process is swapped out."""
    return _status_bytes("VmSwap")


class Peaks:
    """The largest resident memory of each phase of this process's life, and of all of it.

    Not ru_maxrss: in a child it starts at its parent's value.
    """

    def __init__(self) -> None:
        self._most: int | None = None
        self._fresh = _reset()

    def end_phase(self) -> int | None:
        """Return the most since the last border, or None where no border could be drawn; draw the next."""
        peak = _status_bytes("VmHWM")
        found = peak if self._fresh else None
        self._most = max(filter(None, (self._most, peak)), default=None)
        self._fresh = _reset()
        return found

    def overall(self) -> int | None:
        """Return the most of all phases so far."""
        self.end_phase()
        return self._most


def _reset() -> bool:
    try:
        CLEAR.write_text(RESET_PEAK, encoding="ascii")
    except OSError:
        return False
    return True


def _status_bytes(key: str) -> int | None:
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{key}:")), None)
    return int(found[1]) * 1024 if found else None
