"""Boards that are this machine: what stands for ssh runs what it is given in a home of its own, with the real agent."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from packager.remote import link
from packager.remote.destination import Destination, Host
from packager.remote.line import Patience
from packager.remote.link import Board

PATIENCE = Patience(connect_s=5, hello_s=30, silence_s=20, stop_s=10, lease_s=0.3)
RUNS = 'exec sh -c "exec $command"'
CAN_BE_CUT = 'cat | setsid sh -c "exec $command" | { cat; kill -9 0; }'
"""The agent is not of ssh's group: where either ends, the other finds that at the end of a stream."""
BUNDLE = "net.edgepack"


@dataclass(frozen=True)
class Near:
    """A home on this machine, and the ssh that leads to it."""

    programs: Path
    home: Path

    def ssh(self, script: str) -> None:
        """Let ssh be this; `$command` is what it is to run, `$address` where."""
        words = 'for command; do address="$last"; last="$command"; done'
        self.program("ssh", f"{words}\nexport HOME={self.home}\n{script}")

    def program(self, name: str, script: str) -> None:
        """Put a program first on the path, here and on the board."""
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        path.chmod(0o755)

    def left(self) -> list[str]:
        """Return all that is in the home, also while it is being removed."""
        # Not glob: it fails where a folder goes while it looks, as in every test that waits for nothing to be left.
        found = [Path(at, name) for at, folders, files in os.walk(self.home) for name in (*folders, *files)]
        return sorted(path.relative_to(self.home).as_posix() for path in found)

    @property
    def session(self) -> Path:
        """The folder of a session that was given no name."""
        return self.home / ".cache" / "edgepack" / "sessions" / "edgepack"


def path_of(*folders: Path) -> str:
    """Return a PATH that finds what is in these folders, then the tests' own Python, then the system's programs."""
    return os.pathsep.join([*map(str, folders), str(Path(sys.executable).parent), "/usr/bin", "/bin"])


def to(name: str = "pi", address: str = "pi@board", python: str | None = None, port: int | None = None) -> Destination:
    """Return a way to a board."""
    return Destination(name=name, host=Host(address=address, python=python, port=port))


@contextmanager
def connected(patience: Patience = PATIENCE, session: str = "edgepack") -> Iterator[Board]:
    """Open a session on the board that is near."""
    with link.connect(to(), session, patience) as board:
        yield board


def until(holds: Callable[[], bool], within_s: float = 15) -> None:
    """Wait until something holds."""
    ends_s = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends_s, "it does not come to hold"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Tell whether a process is there, and not dead and waiting to be counted."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
