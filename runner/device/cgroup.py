"""What the control groups that this process lies in leave it of the CPUs: both versions, all levels."""

from collections.abc import Iterator
from pathlib import Path

from runner.device.files import count, read_pairs, read_text

UNIFIED = ("sys/fs/cgroup", "sys/fs/cgroup/unified")
"""Where version 2 is mounted: alone, or beside version 1."""
CPU_CONTROLLER = ("sys/fs/cgroup/cpu", "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/cpuacct,cpu")
"""Where the CPU controller of version 1 is mounted."""


def quota(root: Path) -> float | None:
    """Return the tightest quota, in CPUs, such as 0.5; None where there is none."""
    return min((found for folder in folders(root) for found in _quota(folder)), default=None)


def times_throttled(root: Path) -> int | None:
    """Return in how many periods a quota was used up and stopped the processes."""
    return throttled_periods(folders(root))


def throttled_periods(groups: tuple[Path, ...]) -> int | None:
    """Return the sum of `nr_throttled`: a group counts what its own quota did, and any level stops the process."""
    found = [count(read_pairs(folder / "cpu.stat").get("nr_throttled")) for folder in groups]
    known = [periods for periods in found if periods is not None]
    return sum(known) if known else None


def folders(root: Path) -> tuple[Path, ...]:
    """Return the folders of this process's CPU groups, from the top down, that are there."""
    # In a container the path may be the host's, which is not mounted there: the top is the container's own group then.
    return tuple(folder for folder in _folders(root) if folder.is_dir())


def _folders(root: Path) -> Iterator[Path]:
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            for top in UNIFIED:
                yield from _ancestors(root / top, path)
        elif "cpu" in controllers.split(","):
            # Most systems link one of these names to another: the first that is there is enough.
            top = next((name for name in CPU_CONTROLLER if (root / name).is_dir()), CPU_CONTROLLER[0])
            yield from _ancestors(root / top, path)


def _ancestors(top: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts) + 1):
        yield top.joinpath(*parts[:depth])


def _quota(folder: Path) -> Iterator[float]:
    """Yield quota / period where there is a quota: version 2 says "max" where not, version 1 says -1."""
    words = (read_text(folder / "cpu.max") or "").split()
    if not words:
        words = [text for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us") if (text := read_text(folder / name))]
    if len(words) == 2 and (allowed := count(words[0])) and (period := count(words[1])):
        yield allowed / period
