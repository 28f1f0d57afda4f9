"""Where downloads are kept between runs: whole folders, each named by what it was made from."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path


def folder() -> Path:
    """Return the folder that holds all that is downloaded for these tests."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "edgepack-tests"


def built(name: str, recipe: str, make: Callable[[Path], None]) -> Path:
    """Return the folder that `make` fills, filled once for each recipe: one that exists is whole.

    Others who want the same one wait for it.
    """
    digest = hashlib.sha256(recipe.encode()).hexdigest()[:12]
    path = folder() / f"{name}-{digest}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            part = Path(f"{path}.part")
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            make(part)
            part.rename(path)
    return path
