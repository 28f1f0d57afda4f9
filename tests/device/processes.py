"""A board's processes, as the host's /proc shows them."""

from pathlib import Path

EMULATOR = "aarch64"


def children(number: int) -> tuple[int, ...]:
    """Return the processes that a process started, or that fell to it."""
    found = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return tuple(sorted(it for it in found if parent(it) == number))


def descendants(number: int) -> tuple[int, ...]:
    """Return all that a process has below it, itself left out."""
    return tuple(one for child in children(number) for one in (child, *descendants(child)))


def parent(number: int) -> int | None:
    """Return who started a process; None for one that is gone."""
    try:
        # The name before it stands in brackets, and may contain any character.
        return int(Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def command(number: int) -> tuple[str, ...]:
    """Return a process's program and its words, without the emulator that the kernel put before them."""
    try:
        words = tuple(Path(f"/proc/{number}/cmdline").read_text().split("\0")[:-1])
    except OSError:
        return ()
    if not words or EMULATOR not in Path(words[0]).name:
        return words
    # The program's path stands before its words; with the flag P, which the emulator's name tells, its own first
    # word stands there too.
    return (words[1], *words[3 if words[0].endswith("-P") else 2 :])
