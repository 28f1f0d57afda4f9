"""What a board is, what it lacks, and what int8 will bring there."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packager import writer
from packager.remote import link
from packager.remote.board import Board, interpreter
from packager.remote.destination import Destination
from packager.remote.doctor import outlook
from packager.remote.doctor.outlook import Outlook
from packager.remote.failures import NoPythonError
from packager.remote.link import Listener
from packager.remote.messages import BoardFacts, NoPython
from runner import codec, install
from runner.facts import DeviceFacts, DeviceState

PROGRAM = "edgepack-runner.zip"
LEAST_BYTES = 128 << 20
"""What a run with a small bundle needs on the disk."""
ANSWER_S = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lack:
    """What a board lacks, and how it gets it."""

    what: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """What the runner says of the machine that it is started on."""

    facts: DeviceFacts
    state: DeviceState


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """What is known of a board. A bundle can run there if nothing is missing."""

    name: str
    board: BoardFacts | None
    """None where it has no Python that suffices."""
    no_python: NoPython | None
    """What its shell says then."""
    device: Seen | None
    missing: tuple[Lack, ...]
    target: str | None
    """What to pack for."""
    int8: tuple[Outlook, ...]


def diagnose(destination: Destination) -> Diagnosis:
    """Reach a board, and return what it is and what it lacks. Raises EdgepackError where it is not reached."""
    try:
        # A name of its own: a run that goes on there is not disturbed.
        with link.connect(destination, f"doctor-{os.getpid()}") as board:
            return examine(board)
    except NoPythonError as error:
        return without_python(error, destination.name)


def examine(board: Board) -> Diagnosis:
    """Return what a board is, with which a session is open."""
    facts, seen = board.facts, _asked(board)
    machine, features = facts.machine, seen.facts.features if seen else ()
    fits = facts.bits == 64
    target = outlook.target_for(machine, features) if fits and seen else None
    return Diagnosis(
        name=board.name,
        board=facts,
        no_python=None,
        device=seen,
        missing=tuple(_missing(board.name, facts, seen)),
        target=target.name if target else None,
        int8=outlook.outlooks(machine, features) if target else (),
    )


def without_python(error: NoPythonError, name: str) -> Diagnosis:
    """Return what the shell of a board tells that has no Python that suffices."""
    found = error.found
    features = outlook.features_in(found.machine, found.features)
    target = outlook.target_for(found.machine, features) if found.bits == "64" else None
    return Diagnosis(
        name=name,
        board=None,
        no_python=found,
        device=None,
        missing=(Lack(what=error.what, advice=error.advice),),
        target=target.name if target else None,
        int8=outlook.outlooks(found.machine, features) if target else (),
    )


def _asked(board: Board) -> Seen | None:
    """Have the runner itself say what the machine is: it is brought there for that, and needs no numpy."""
    lines = list[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / PROGRAM
        writer.write_program(path)
        board.put(path, PROGRAM, lambda _: None)
    code = board.run([link.PYTHON, PROGRAM, "device", "--json"], Listener(out=lines.append), ANSWER_S)
    try:
        return codec.read_json(Seen, "\n".join(lines)) if code == 0 else None
    except codec.InvalidDocumentError:
        return None


def _missing(name: str, facts: BoardFacts, seen: Seen | None) -> Iterator[Lack]:
    python = interpreter(facts, cuda=bool(seen and seen.facts.cuda))
    features = seen.facts.features if seen else ()
    here = [package for package in install.RUNTIMES if package in facts.packages]
    troubles = [outlook.trouble(package, facts.packages[package], facts.machine, features) for package in here]
    absent = [package for package in ("numpy",) if package not in facts.packages]
    if not here:
        absent.append(install.RUNTIMES[0])
    if absent:
        remedy = install.remedy(absent, python)
        what = f"{' and '.join(absent)} {'are' if len(absent) > 1 else 'is'} not installed there"
        setup = f"pack bench BUNDLE --on {name} --setup, which makes an environment of its own; or on the board: "
        yield Lack(
            what=f"{what}, and {remedy.problem}" if remedy.problem else what,
            advice=remedy.advice if remedy.problem else setup + remedy.advice,
        )
    if troubles and all(troubles):
        advice = install.command(("onnxruntime",), python)
        yield Lack(what=troubles[0], advice=f"{install.command(('torch',), python)}; or another runtime: {advice}")
    if facts.free_bytes < LEAST_BYTES:
        what = (
            f"{facts.free_bytes >> 20} MiB are free at {facts.cache}, and a run needs {LEAST_BYTES >> 20} MiB or more"
        )
        yield Lack(what=what, advice="free some space there")
