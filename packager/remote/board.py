"""What a set-up and a doctor ask of a board that can be reached: its facts, files to it and from it, and programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from packager.remote.environment import BoardPython
from packager.remote.link import Done, Listener
from packager.remote.messages import BoardFacts
from runner.install import Interpreter

GLIBC = "glibc "


class Board(Protocol):
    """A board with which a session is open."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def facts(self) -> BoardFacts:
        """What is known of it."""

    def put(self, path: Path, name: str, done: Done) -> bool:
        """Copy a file into the session's folder there; `done` is told how many bytes are there."""

    def run(self, argv: Sequence[str], listener: Listener, timeout_s: float | None = None) -> int:
        """Run a program in that folder and return its exit code; `python` stands for the board's own."""

    def get(self, name: str) -> bytes:
        """Return a file of that folder."""


def interpreter(facts: BoardFacts, *, cuda: bool = False) -> Interpreter:
    """Return a board's Python as the table of install commands takes it."""
    major, minor = facts.python.split(".")[:2]
    return Interpreter(
        machine=facts.machine,
        bits=facts.bits,
        version=(int(major), int(minor)),
        executable=facts.executable,
        musl=not facts.libc.startswith(GLIBC),
        in_venv=facts.in_venv,
        managed=facts.externally_managed,
        has_pip=facts.has_pip,
        has_venv=facts.has_ensurepip,
        cuda=cuda,
    )


def board_python(facts: BoardFacts) -> BoardPython:
    """Return a board's Python as installers see it; its libc is glibc."""
    major, minor = facts.libc.removeprefix(GLIBC).split(".")[:2]
    return BoardPython(machine=facts.machine, version=facts.python, glibc=(int(major), int(minor)))
