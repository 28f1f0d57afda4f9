"""What a board says to the host, a line of JSON each."""

import re
from dataclasses import dataclass

PROTOCOL = 1
VERSION = r"\d+\.\d+(\..*)?"


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardFacts:
    """What a board is, as far as it has to be known before anything is copied there."""

    machine: str
    bits: int
    """Of a pointer: a 64-bit kernel may well have 32-bit programs."""
    python: str
    executable: str
    libc: str
    system: str
    cache: str
    """The folder where edgepack may keep things."""
    memory_bytes: int
    free_bytes: int
    """On the disk of that folder."""
    packages: dict[str, str]
    """The version of numpy, psutil and the runtimes, where they are installed."""
    in_venv: bool
    has_pip: bool
    has_ensurepip: bool
    externally_managed: bool
    """pip refuses to install into this Python (PEP 668)."""

    @property
    def plausible(self) -> bool:
        """Tell whether the versions in it are versions, so that what can be installed there follows from them."""
        glibc = not self.libc.startswith("glibc") or re.fullmatch(f"glibc {VERSION}", self.libc, re.ASCII)
        return bool(re.fullmatch(VERSION, self.python, re.ASCII) and glibc)


@dataclass(frozen=True, kw_only=True, slots=True)
class NoPython:
    """What the shell of a board says that has no Python that suffices; what it cannot tell is empty."""

    found: str
    """The version of a Python that does not."""
    machine: str
    bits: str = ""
    """Of the programs that the board has, by the header of its shell."""
    system: str = ""
    board: str = ""
    """Its own name of itself, as in the device tree."""
    features: str = ""
    """Of its CPU, as /proc/cpuinfo has them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """What the agent does not do, and why."""

    code: str
    what: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """What comes from a board; each has one of these, and the last may stand beside any."""

    edgepack: int | None = None
    facts: BoardFacts | None = None
    no_python: NoPython | None = None
    folder: str | None = None
    have_bytes: int | None = None
    whole: bool = False
    out: str | None = None
    err: str | None = None
    exit: int | None = None
    bytes: int | None = None
    beat: bool = False
    closed: bool = False
    refused: Refused | None = None
