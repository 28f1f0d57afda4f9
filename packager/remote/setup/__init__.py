"""Prepares a fresh board: a virtual environment of edgepack's own, with numpy, psutil and the runtimes of a bundle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from packager.cache import default_folder
from packager.remote import link
from packager.remote.board import Board, board_python, interpreter
from packager.remote.link import Listener
from packager.remote.setup import venv, wheels
from packager.remote.setup.venv import Answer, Order
from packager.remote.setup.venv_program import STEP
from packager.remote.setup.wheels import Store, Wheel
from runner import install
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.manifest import Format
from runner.progress import Progress
from runner.runtimes import KNOWN

ALWAYS: tuple[str, ...] = ("numpy", "psutil")
MIB = 1 << 20
NEEDED_BYTES: Mapping[str, int] = {
    "numpy": 75 * MIB,
    "psutil": 2 * MIB,
    "onnxruntime": 100 * MIB,
    "torch": 1000 * MIB,
    "ai_edge_litert": 70 * MIB,
    "openvino": 220 * MIB,
    "executorch": 60 * MIB,
}
"""What a package takes while pip installs it: the wheel and what comes out of it, its own requirements with it.

Seen on aarch64: numpy 2.4.6 15 + 53 MiB, onnxruntime 1.31.1 20 + 53, torch 2.9.1 99 + 401, executorch
1.0.1 10 + 34; torch for x86 is larger.
"""
PIP_BYTES = 20 * MIB
WHEELS = "wheels"
"""The folder within the session's that wheels are copied to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A board that can run the bundle."""

    python: str
    """The path there of the Python that has all of it."""
    packages: dict[str, str]
    changed: bool
    """Whether anything had to be installed."""


def prepare(
    board: Board, formats: Sequence[Format], progress: Progress, *, offline: bool = False, store: Path | None = None
) -> Prepared:
    """Bring what artifacts of these formats need to a board, unless it is there.

    `store` is the folder of wheels on this host. Raises RuntimeUnavailable where the board cannot have them, and
    EdgepackError where something fails.
    """
    facts = board.facts
    needed = (package for each in formats for package in (*KNOWN[each].needs, KNOWN[each].package))
    packages = (*ALWAYS, *dict.fromkeys(needed))
    python = interpreter(facts)
    remedy = install.remedy(packages, python)
    if remedy.problem:
        raise RuntimeUnavailable(remedy.problem, where=board.name, advice=remedy.advice)
    installs = install.pip_installs(packages, python)
    wanted = [word for words in installs for word in words if _is_requirement(word)]
    if _has(facts.packages, wanted):
        return Prepared(python=facts.executable, packages=facts.packages, changed=False)
    place = f"{facts.cache}/venv-{'.'.join(map(str, python.version))}"
    there = venv.ask(board, Order(venv=place), Listener())
    if _has(there.packages, wanted):
        return Prepared(python=there.python, packages=there.packages, changed=False)
    # What an earlier bundle needed stays: the environment is made anew, as a whole.
    kept = tuple(name for name in install.RUNTIMES if name in there.packages and name not in packages)
    packages = (*packages, *kept)
    order = Order(venv=place, installs=install.pip_installs(packages, python), imports=packages)
    folder = (store or default_folder() / "wheels") / board_python(facts).name
    order = _brought(board, order, Store(folder=folder, python=board_python(facts)), progress, offline=offline)
    answer = _installed(board, order, progress)
    if answer.step:
        raise venv.failed(answer, board.name, offline=offline)
    return Prepared(python=answer.python, packages=answer.packages, changed=True)


def _brought(board: Board, order: Order, store: Store, progress: Progress, *, offline: bool) -> Order:
    """Copy the wheels there that the board does not get by itself, and return the order that uses them."""
    facts, found = board.facts, list[Wheel]()
    if not facts.has_ensurepip:
        found += wheels.collect(["pip"], store, progress)
    own_pip = f"{WHEELS}/{found[0].path.name}" if found else ""
    if offline:
        for words in order.installs:
            asked = [word for word in words if _is_requirement(word)]
            options = tuple(word for word in words if word not in asked)
            found += wheels.collect(asked, Store(folder=store.folder, python=store.python, options=options), progress)
    unique = tuple({each.path: each for each in found}.values())
    _hold_space(board, order, unique, offline=offline)
    with progress.task("copying wheels to the board", sum(each.size_bytes for each in unique)) as advance:
        for wheel in unique:
            board.put(wheel.path, f"{WHEELS}/{wheel.path.name}", link.growing(advance, wheel.name))
    if not offline:
        return Order(venv=order.venv, installs=order.installs, imports=order.imports, pip=own_pip)
    # They are whole by the board's own conditions, which were judged here.
    pinned = ("--no-deps", *(f"{each.name}=={each.version}" for each in unique if each.name != "pip"))
    return Order(venv=order.venv, installs=(pinned,), imports=order.imports, pip=own_pip, links=WHEELS)


def _installed(board: Board, order: Order, progress: Progress) -> Answer:
    with progress.task("installing on the board", 1 + len(order.installs) + len(order.imports)) as advance:

        def show(line: str) -> None:
            advance(line.startswith(STEP), line.removeprefix(STEP).strip()[:60])

        return venv.ask(board, order, Listener(out=show))


def _hold_space(board: Board, order: Order, found: Sequence[Wheel], *, offline: bool) -> None:
    """Refuse to begin what cannot be finished."""
    needed = PIP_BYTES + sum(each.size_bytes + each.installed_bytes for each in found)
    if not offline:
        needed += sum(NEEDED_BYTES[name] for name in install.RUNTIMES if name in order.imports)
        needed += sum(NEEDED_BYTES[name] for name in ALWAYS)
    if board.facts.free_bytes < needed:
        free = f"{board.facts.free_bytes / MIB:.0f} are free"
        what = f"{needed / MIB:.0f} MiB are needed for a set-up in {board.facts.cache}, and {free}"
        advice = "free some space there, or XDG_CACHE_HOME on another disk of the board"
        raise MeasurementError(what, where=board.name, advice=advice)


def _has(packages: Mapping[str, str], wanted: Sequence[str]) -> bool:
    """Tell whether all that is wanted is there, in a version that is wanted."""
    return all(_met(Requirement(each), packages) for each in wanted)


def _met(asked: Requirement, packages: Mapping[str, str]) -> bool:
    try:
        return asked.name in packages and asked.specifier.contains(Version(packages[asked.name]), prereleases=True)
    except InvalidVersion:
        return not asked.specifier


def _is_requirement(word: str) -> bool:
    """Tell a requirement from an option of pip and its value."""
    return not word.startswith("-") and "/" not in word
