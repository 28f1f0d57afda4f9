"""Finished steps, found again by what went into them.

A step's result is a folder of files under a key: the digest of its inputs, of this tool's code and of the libraries
that do the work. It takes its name only when it is whole. Until then it is a `.part` folder, which an interrupted
training finds again with its checkpoint in it.
"""

import contextlib
import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import models
import packager
from runner import codec, manifest
from runner.errors import StepError

LIBRARIES = (
    "torch",
    "torchvision",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "torchao",
    "openvino",
    "nncf",
    "executorch",
    "litert-torch",
    "ai-edge-quantizer",
    "ai-edge-litert",
    "torch-pruning",
    "numpy",
    "pillow",
)
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
    complete: bool = False
    """Whether all is there: what is not is not made, but is a StepError."""

    def holds(self, step: str, inputs: Mapping[str, object]) -> bool:
        """Say whether a step has been made."""
        return (self.folder / step / _key(step, inputs)).is_dir()

    def made(self, step: str, inputs: Mapping[str, object], make: Callable[[Path], None]) -> Found:
        """Return the files of a step, which `make` writes into a folder where they are not there yet.

        `inputs` are all that the result depends on. Raises StepError where the cache cannot be written.
        """
        key = _key(step, inputs)
        folder = self.folder / step / key
        if self.complete and not folder.is_dir():
            raise StepError(f"{step!r} comes out otherwise than before, or is gone from the cache")
        try:
            with _locked(folder):
                if folder.is_dir():
                    return Found(folder=folder, key=key, cached=True)
                part = folder.with_suffix(".part")
                part.mkdir(exist_ok=True)
                make(part)
                part.replace(folder)
        except OSError as error:
            # A step may also fail over a file of the user's, and tells of that itself.
            if error.errno not in DISK_IS_FULL and self.folder not in Path(error.filename or "").parents:
                raise
            what = f"the cache cannot be written: {error.strerror}"
            advice = "free some space, XDG_CACHE_HOME=another/folder, or --no-cache"
            raise StepError(what, where=str(self.folder), advice=advice) from None
        return Found(folder=folder, key=key, cached=False)


def _key(step: str, inputs: Mapping[str, object]) -> str:
    return codec.digest({"step": step, "inputs": dict(inputs), "tool": tool_digest()})


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time make a step: the next finds it made."""
    lock = folder.with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        # Not after a failure: another process may wait for this very file.
        lock.unlink(missing_ok=True)


@functools.cache
def tool_digest() -> str:
    """Return what stands for this tool's own part in a result: its code, and the libraries' versions."""
    found = hashlib.sha256()
    roots = (Path(str(package.__file__)).parent for package in (packager, models))
    # Of the runner, what brings the samples into the form that the network is trained on.
    for path in (*(path for root in roots for path in sorted(root.rglob("*.py"))), Path(manifest.__file__)):
        found.update(f"{path.parent.name}/{path.name}\0".encode() + path.read_bytes())
    found.update(repr(versions()).encode())
    return found.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of the libraries that make the artifacts, those that are installed."""
    found = {}
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found
