"""What the host asks of its program on a board that makes a virtual environment, and what the answers mean."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from packager.remote.board import Board
from packager.remote.link import Listener
from packager.remote.setup import pip, venv_program
from runner import codec
from runner.errors import EdgepackError, MeasurementError, RuntimeUnavailable, first_line

PROGRAM = Path(venv_program.__file__)
OFFLINE = "--setup --offline, which brings all of it from here"


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What the board's side is told to do."""

    venv: str
    installs: tuple[tuple[str, ...], ...] = ()
    """What follows each `pip install`; without any, only what is there is told."""
    imports: tuple[str, ...] = ()
    pip: str = ""
    """A wheel of pip, for a Python that cannot make its own."""
    links: str = ""
    """A folder of wheels, instead of the network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What the board's side did."""

    python: str
    packages: dict[str, str]
    step: str
    """That failed, if one did."""
    lines: tuple[str, ...]
    """The last that it printed."""


def ask(board: Board, order: Order, listener: Listener) -> Answer:
    """Run the board's side, and return its answer."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(codec.write_json(order))
        file.flush()
        board.put(Path(file.name), venv_program.ORDER, lambda _: None)
    board.put(PROGRAM, PROGRAM.name, lambda _: None)
    told: list[str] = []
    code = board.run(["python", PROGRAM.name], Listener(out=listener.out, err=told.append))
    if code:
        line = next((line for line in reversed(told) if line.strip()), "no message")
        raise MeasurementError(f"its set-up ended with {code}: {line}", where=board.name)
    try:
        return codec.read_json(Answer, board.get(venv_program.ANSWER))
    except codec.InvalidDocumentError as error:
        raise MeasurementError(f"its set-up answered in another form: {first_line(error)}", where=board.name) from None


def failed(answer: Answer, name: str, *, offline: bool) -> EdgepackError:
    """Return the error for what failed there."""
    told = pip.failure(answer.lines)
    if answer.step.startswith("import "):
        return _not_importable(answer, told, name)
    if answer.step == "venv":
        what = f"a virtual environment cannot be made there: {told.line}"
        return RuntimeUnavailable(what, where=name, advice="sudo apt install python3-venv")
    if told.cause == "no-space":
        return MeasurementError("its disk is full", where=name, advice="free some space there; nothing was left")
    what = f"pip failed there: {told.line}"
    unreached = told.cause == "network" or any("from versions: none" in line for line in answer.lines)
    if unreached and not offline:
        return MeasurementError(what, where=name, advice=f"a network for the board, or {OFFLINE}")
    if told.cause == "no-wheel":
        return RuntimeUnavailable(what, where=name, advice="another Python or a newer system on the board")
    return MeasurementError(what, where=name, advice="" if offline else OFFLINE)


def _not_importable(answer: Answer, told: pip.PipFailure, name: str) -> RuntimeUnavailable:
    package = answer.step.removeprefix("import ")
    if any("SIGILL" in line for line in answer.lines):
        what = f"{package} was installed, and has instructions that this CPU has not"
        return RuntimeUnavailable(what, where=name, advice="another version of it, or --artifact of another runtime")
    what = f"{package} was installed, and cannot be imported: {told.line}"
    return RuntimeUnavailable(what, where=name, advice="--artifact of another runtime, or report this")
