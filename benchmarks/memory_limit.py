"""Runs a command under a limit of memory, and tells the most that all of its processes took together.

By a control group of this machine's kernel where one can be made (root), of either version; otherwise by `ulimit -d`,
which limits each process for itself.
"""

import contextlib
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

VERSION_1, VERSION_2 = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
PERIOD_S = 0.02
JOIN = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A control group with a limit, and how the two versions name what it counts."""

    folder: Path
    limit: str
    most: str
    anonymous: str
    """In `memory.stat`: what cannot be given back, unlike the cache of files."""

    def anonymous_bytes(self) -> int:
        """Return what its processes have now that is in no file."""
        rows = (line.split() for line in (self.folder / "memory.stat").read_text().splitlines())
        return int(dict(row for row in rows if len(row) == 2)[self.anonymous])

    def most_bytes(self) -> int:
        """Return the most that it ever had, the cache of files included."""
        return int((self.folder / self.most).read_text())


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """How a command ended under the limit. Sums over all its processes, looked at every 20 ms."""

    code: int
    out: str
    err: str
    how: str
    """What held the limit."""
    pss_bytes: int
    """The most that its processes shared among them: proportional set sizes."""
    anonymous_bytes: int | None
    """The most that was in no file, as the group counts; None without one."""
    group_bytes: int | None
    """The most that the group had, with the cache of files, which the kernel takes back where it has to."""


def run(command: Sequence[str], limit_bytes: int, folder: Path) -> Ran:
    """Run a command in `folder` with so much memory for all of its processes together."""
    with _group(limit_bytes) as group, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        joined = ("sh", "-c", JOIN, str(group.folder), *command) if group else command
        before: Callable[[], None] | None = None if group else lambda: _limit_each(limit_bytes)
        process = subprocess.Popen(joined, cwd=folder, stdout=out, stderr=err, preexec_fn=before)  # noqa: PLW1509
        pss, anonymous = _watch(process, group)
        for file in (out, err):
            file.seek(0)
        return Ran(
            code=process.returncode,
            out=out.read().decode(),
            err=err.read().decode(),
            how=f"a control group ({group.limit})" if group else "ulimit -d, each process for itself",
            pss_bytes=pss,
            anonymous_bytes=anonymous if group else None,
            group_bytes=group.most_bytes() if group else None,
        )


def forget(path: Path) -> None:
    """Take a file out of the cache, so that who reads it next pays for its pages."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _limit_each(limit_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _watch(process: subprocess.Popen[bytes], group: Group | None) -> tuple[int, int]:
    """Wait for a process, and return the most that its tree and its group had."""
    pss, anonymous = 0, 0
    while process.poll() is None:
        time.sleep(PERIOD_S)
        pss = max(pss, _pss_bytes(process.pid))
        anonymous = max(anonymous, group.anonymous_bytes() if group else 0)
    return pss, anonymous


def _pss_bytes(pid: int) -> int:
    total = 0
    with contextlib.suppress(psutil.Error):
        for each in (parent := psutil.Process(pid), *parent.children(recursive=True)):
            # It may end between the two looks.
            with contextlib.suppress(psutil.Error):
                total += each.memory_full_info().pss
    return total


@contextlib.contextmanager
def _group(limit_bytes: int) -> Iterator[Group | None]:
    """Make a group for the time of the context, or yield None where that is not allowed."""
    name = f"edgepack-bench-{os.getpid()}"
    first = Group(
        folder=VERSION_1 / name,
        limit="memory.limit_in_bytes",
        most="memory.max_usage_in_bytes",
        anonymous="total_rss",
    )
    second = Group(folder=VERSION_2 / name, limit="memory.max", most="memory.peak", anonymous="anon")
    group = first if VERSION_1.is_dir() else second
    try:
        group.folder.mkdir()
        (group.folder / group.limit).write_text(str(limit_bytes))
    except OSError:
        with contextlib.suppress(OSError):
            group.folder.rmdir()
        yield None
        return
    try:
        yield group
    finally:
        group.folder.rmdir()
