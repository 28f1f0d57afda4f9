"""Finished steps, found again by what went into them.

A step's result is a folder of files under a key: the digest of its inputs, of this tool's code and of the libraries
that do the work. It takes its name only when it is whole. Until then it is a `.part` folder, which an interrupted
training finds again with its checkpoint in it.
"""

import contextlib
import fcntl
import functools
import hashlib
import importlib.metadata
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import models
import packager
from runner import codec
from runner.errors import StepError

LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy", "pillow")


def default_folder() -> Path:
    """Return where the cache is: `edgepack` under XDG_CACHE_HOME, or under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepack"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A finished step's files."""

    folder: Path
    key: str
    cached: bool
    """Whether they were there before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cache:
    """A folder of finished steps. Deleting it costs nothing but time."""

    folder: Path

    def made(self, step: str, inputs: Mapping[str, object], make: Callable[[Path], None]) -> Found:
        """Return the files of a step, which `make` writes into a folder where they are not there yet.

        `inputs` are all that the result depends on. Raises StepError where the cache cannot be written.
        """
        key = codec.digest({"step": step, "inputs": dict(inputs), "tool": tool_digest()})
        folder = self.folder / step / key
        with self._locked(folder):
            if folder.is_dir():
                return Found(folder=folder, key=key, cached=True)
            part = folder.with_suffix(".part")
            part.mkdir(exist_ok=True)
            make(part)
            part.replace(folder)
        return Found(folder=folder, key=key, cached=False)

    @contextlib.contextmanager
    def _locked(self, folder: Path) -> Iterator[None]:
        """Let one process at a time make a step: the next finds it made."""
        lock = folder.with_suffix(".lock")
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = lock.open("w")
        except OSError as error:
            what = f"the cache cannot be written: {error.strerror}"
            advice = "XDG_CACHE_HOME=another/folder, or --no-cache"
            raise StepError(what, where=str(self.folder), advice=advice) from None
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
            lock.unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


@functools.cache
def tool_digest() -> str:
    """Return what stands for this tool's own part in a result: its host-side code, and the libraries' versions."""
    found = hashlib.sha256()
    for package in (packager, models):
        root = Path(str(package.__file__)).parent
        for path in sorted(root.rglob("*.py")):
            found.update(f"{path.relative_to(root)}\0".encode() + path.read_bytes())
    found.update(repr(versions()).encode())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the libraries that make the artifacts, those that are installed."""
    installed = {distribution.metadata["Name"].lower() for distribution in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in LIBRARIES if name in installed}
