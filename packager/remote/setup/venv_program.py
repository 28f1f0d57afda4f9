"""The board's side of a set-up: a virtual environment of edgepack's own, made there by the board's own Python.

Standard library only, and one file, which the host copies to the board. Reads its order from one file of JSON, prints
how it goes, and writes its answer into another. An environment is made beside its place, and takes it when all that it
is for has been imported there: what is interrupted is never found.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ORDER, ANSWER = "venv-order.json", "venv-answer.json"
LAST_LINES = 200
STEP = "== "
"""How the lines begin that are this program's own, one for each step."""


class Failed(Exception):  # noqa: N818 - an answer
    """The environment cannot be made; the host is told."""

    def __init__(self, step: str, lines: list[str]) -> None:
        super().__init__(step)
        self.step = step
        self.lines = lines


def packages(venv: Path) -> dict[str, str]:
    """Return what is in an environment that this Python can use: name -> version; nothing where there is none."""
    folder = venv / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"
    if not os.access(python(venv), os.X_OK):
        return {}
    found = importlib.metadata.distributions(path=[str(folder)])
    names = ((each.metadata["Name"], each.version) for each in found)
    # As they are imported, and as they are asked for: with one kind of dash.
    return {name.lower().replace("-", "_"): version for name, version in names if name}


def make(venv: Path, order: dict[str, Any]) -> None:
    """Make the environment anew, with all that it is to have. Raises Failed, and leaves the earlier one as it was."""
    venv.parent.mkdir(parents=True, exist_ok=True)
    fresh, old = (venv.with_name(f".{venv.name}.{state}") for state in ("making", "old"))
    with _locked(venv.parent):
        try:
            for left in (fresh, old):
                shutil.rmtree(left, ignore_errors=True)
            _create(fresh, bare=bool(order["pip"]))
            for words in order["installs"]:
                _install(fresh, words, order)
            for name in order["imports"]:
                _prove(fresh, name)
            if venv.exists():
                venv.rename(old)
            fresh.rename(venv)
        finally:
            for left in (fresh, old):
                shutil.rmtree(left, ignore_errors=True)
        for other in venv.parent.glob("venv-*"):
            _hold_usable(other)


def python(venv: Path) -> Path:
    """Return an environment's own Python."""
    return venv / "bin" / "python"


def _create(venv: Path, *, bare: bool) -> None:
    _say(f"{STEP}a virtual environment\n")
    # This program may itself run in an environment, even in the one that is to be replaced.
    base = getattr(sys, "_base_executable", None) or sys.executable
    _call("venv", [base, "-m", "venv", *(["--without-pip"] if bare else []), str(venv)])


def _install(venv: Path, words: list[str], order: dict[str, Any]) -> None:
    """Install by the environment's own pip, or by a wheel of pip, which Python runs as it is."""
    pip = [str(Path(order["pip"]).resolve() / "pip")] if order["pip"] else ["-m", "pip"]
    quiet = ["--disable-pip-version-check", "--no-input", "--no-cache-dir", "--progress-bar", "off"]
    source = ["--no-index", "--find-links", str(Path(order["links"]).resolve())] if order["links"] else []
    _say(f"{STEP}installing {' '.join(words)}\n")
    # No compiler is asked of a board.
    _call("pip", [str(python(venv)), *pip, "install", "--only-binary=:all:", *quiet, *source, *words])


def _prove(venv: Path, name: str) -> None:
    """Import what was installed: a wheel may be for another CPU than this, which shows only then."""
    _say(f"{STEP}importing {name}\n")
    _call(f"import {name}", [str(python(venv)), "-c", f"import {name}"])


def _hold_usable(venv: Path) -> None:
    """Remove an environment of edgepack's whose Python is gone or another by now: it would be found before this one."""
    command = [str(python(venv)), "-c", "import numpy"]
    if not os.access(command[0], os.X_OK) or subprocess.run(command, capture_output=True, check=False).returncode:
        shutil.rmtree(venv, ignore_errors=True)


def _call(step: str, command: list[str]) -> None:
    """Run a program and pass its lines on. Raises Failed with the last of them."""
    lines: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as child:
        assert child.stdout
        for line in child.stdout:
            _say(line)
            lines = [*lines[1 - LAST_LINES :], line.rstrip()]
    if child.returncode < 0:
        lines.append(f"ended by {signal.Signals(-child.returncode).name}")
    if child.returncode:
        raise Failed(step, lines)


def _say(line: str) -> None:
    os.write(1, line.encode(errors="replace"))


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one set-up at a time change the environments of this board."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def main() -> None:
    """Do what the order in this folder says, and leave the answer there."""
    order = json.loads(Path(ORDER).read_text())
    venv = Path(order["venv"])
    step, lines = "", list[str]()
    try:
        if order["installs"]:
            make(venv, order)
    except Failed as failed:
        step, lines = failed.step, failed.lines
    except OSError as error:
        step, lines = "system", [f"{error.filename or venv}: {error.strerror}"]
    answer = {"python": str(python(venv)), "packages": packages(venv), "step": step, "lines": lines}
    Path(ANSWER).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
