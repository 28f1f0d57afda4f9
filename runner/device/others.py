"""Which other programs had the CPU while a worker ran, by psutil where that is installed: names and shares, no more."""

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from runner.process import Other

LEAST_SHARE = 0.05
"""Of one CPU: who had less disturbed nobody."""
MOST_NAMED = 3

Life = tuple[int, float]
"""Of a process: its number, which is given again, and its start."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """The CPU time that a process has had."""

    name: str
    cpu_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """The CPU time that all processes but this one and its children have had, at one moment."""

    monotonic_ns: int
    spent: Mapping[Life, Spent]


def snapshot() -> Snapshot | None:
    """Look at the processes of this machine: 5 ms for a hundred of them. None without psutil."""
    try:
        import psutil  # noqa: PLC0415 - a bundle runs without it
    except ImportError:
        return None
    spent = dict[Life, Spent]()
    try:
        found = [process.info for process in psutil.process_iter(["pid", "ppid", "name", "cpu_times", "create_time"])]
    except OSError:  # no /proc
        return None
    for told in found:
        # What may not be read is None; this process and its workers are no others.
        if told["cpu_times"] and os.getpid() not in (told["pid"], told["ppid"]):
            cpu_s = told["cpu_times"].user + told["cpu_times"].system
            spent[told["pid"], told["create_time"] or 0.0] = Spent(name=told["name"] or "unknown", cpu_s=cpu_s)
    return Snapshot(monotonic_ns=time.monotonic_ns(), spent=spent)


def between(before: Snapshot | None, after: Snapshot | None) -> tuple[Other, ...]:
    """Return who had most of the CPU between two snapshots; what began and ended within them is seen by nobody."""
    if before is None or after is None or after.monotonic_ns <= before.monotonic_ns:
        return ()
    took_s = Counter[str]()
    for name, cpu_s in _growths(before.spent, after.spent):
        took_s[name] += cpu_s  # type: ignore[assignment]  # a Counter of seconds
    window_s = (after.monotonic_ns - before.monotonic_ns) / 1e9
    shares = (Other(name=name, cpus=cpu_s / window_s) for name, cpu_s in took_s.most_common(MOST_NAMED))
    return tuple(each for each in shares if each.cpus >= LEAST_SHARE)


def _growths(before: Mapping[Life, Spent], after: Mapping[Life, Spent]) -> Iterator[tuple[str, float]]:
    for life, now in after.items():
        earlier = before.get(life)
        yield now.name, now.cpu_s - (earlier.cpu_s if earlier else 0.0)
