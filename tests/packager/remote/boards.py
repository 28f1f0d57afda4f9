"""A board that is a folder of this machine: its programs run here, with this Python or another."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from packager.remote.link import Done, Listener
from packager.remote.messages import BoardFacts

PI5 = "Raspberry Pi 5 Model B Rev 1.0"


def board_facts(
    *,
    machine: str = "aarch64",
    bits: int = 64,
    python: str = "3.11.2",
    executable: str = "/usr/bin/python3",
    libc: str = "glibc 2.36",
    cache: str = "/home/pi/.cache/edgepack",
    free_bytes: int = 20 << 30,
    packages: dict[str, str] | None = None,
    in_venv: bool = False,
    has_pip: bool = True,
    has_ensurepip: bool = True,
    externally_managed: bool = False,
) -> BoardFacts:
    """Return the facts of a Raspberry Pi with nothing installed, but for what is said."""
    return BoardFacts(
        machine=machine,
        bits=bits,
        python=python,
        executable=executable,
        libc=libc,
        system="Debian GNU/Linux 12 (bookworm)",
        cache=cache,
        memory_bytes=8 << 30,
        free_bytes=free_bytes,
        packages=packages or {},
        in_venv=in_venv,
        has_pip=has_pip,
        has_ensurepip=has_ensurepip,
        externally_managed=externally_managed,
    )


@dataclass(kw_only=True)
class FolderBoard:
    """Keeps the protocol of a board with a folder and this machine's programs."""

    folder: Path
    facts: BoardFacts
    python: str = sys.executable
    name: str = "pi"
    ran: list[list[str]] = field(default_factory=list)
    before_run: Callable[[], None] = lambda: None

    def put(self, path: Path, name: str, done: Done) -> bool:
        """Copy a file into the folder."""
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, there)
        done(path.stat().st_size)
        return False

    def run(self, argv: Sequence[str], listener: Listener, timeout_s: float | None = None) -> int:
        """Run a program in the folder."""
        self.ran.append(list(argv))
        self.before_run()
        words = [self.python if argv[0] == "python" else argv[0], *argv[1:]]
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=timeout_s, check=False)
        for line in done.stdout.splitlines():
            listener.out(line)
        for line in done.stderr.splitlines():
            listener.err(line)
        return done.returncode

    def get(self, name: str) -> bytes:
        """Return a file of the folder."""
        return (self.folder / name).read_bytes()
