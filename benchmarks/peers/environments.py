"""A Python for each peer: an environment of its own with pinned versions, made once, or one that the user names."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.contenders import PEERS, Environment
from runner.errors import UsageError, nearest

REQUIREMENTS = Path(__file__).parent / "requirements"
READY = ".ready"
ALL = "all"
TORCH_INDEX = "TORCH_INDEX"
"""Names a further index, such as PyTorch's CPU builds, which spare gigabytes."""
NAMES: tuple[Environment, ...] = tuple(dict.fromkeys(each.environment for each in PEERS))


@dataclass(frozen=True, kw_only=True, slots=True)
class Environments:
    """Where the Pythons are."""

    folder: Path
    """Of those that are made here."""
    given: Mapping[str, str]
    """Environment -> Python, of those that exist already; `all` stands for all that are not named."""

    def python(self, name: Environment) -> str:
        """Return the Python of an environment, which is made where it is missing. Raises UsageError."""
        if name == "edgepack":
            return sys.executable
        return self.given.get(name) or self.given.get(ALL) or str(self._made(name))

    def _made(self, name: Environment) -> Path:
        requirements = REQUIREMENTS / f"{name}.txt"
        venv, wanted = self.folder / name, requirements.read_text(encoding="utf-8")
        python, ready = venv / "bin" / "python", venv / READY
        if ready.exists() and ready.read_text(encoding="utf-8") == wanted:
            return python
        index = os.environ.get(TORCH_INDEX)
        further = ("--extra-index-url", index) if index else ()
        pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        for command in ((sys.executable, "-m", "venv", str(venv)), (*pip, *further, "-r", str(requirements))):
            if subprocess.run(command, check=False).returncode:
                advice = f"--python {name}=PYTHON, of an environment that has what {requirements.name} lists"
                raise UsageError(f"the environment {name} cannot be made", where=str(venv), advice=advice)
        ready.write_text(wanted, encoding="utf-8")
        return python


def given(words: Sequence[str]) -> dict[str, str]:
    """Return what `--python NAME=PATH` names; a PATH alone is for all. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, path = word.rpartition("=")
        name = name if equals else ALL
        if name not in (*NAMES, ALL):
            hint = nearest(name, [*NAMES, ALL]) or f"one of {', '.join(NAMES)}, {ALL}"
            raise UsageError(f"there is no environment {name!r}", where=f"--python {word}", advice=hint)
        if not Path(path).is_file():
            raise UsageError("there is no such Python", where=f"--python {word}", advice="the path of an interpreter")
        # Not resolved: a link's own folder is what tells Python which environment it is.
        found[name] = str(Path(path).absolute())
    return found
