"""Where a session keeps its things on the board."""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from packager.remote.agent.channel import Refused

NOTE = ".session"
TEMPORARY = "tmp"


@dataclasses.dataclass
class Place:
    """Where a session keeps its things, and what of the way there it had to make."""

    folder: Path
    made: list[str]
    """Folders above it that were not there, the nearest first."""
    token: str
    """Of the session that came last."""

    @classmethod
    def take(cls, folder: Path) -> "Place":
        """Make the folder, or take over what a session that was cut off has left there."""
        missing = [str(above) for above in folder.parents if not above.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        earlier = cls.read(folder)
        return cls(folder, missing or (earlier.made if earlier else []), secrets.token_hex(8))

    @classmethod
    def read(cls, folder: Path) -> "Place | None":
        """Return what was written there, if it was."""
        try:
            found = json.loads((folder / NOTE).read_text())
            return cls(folder, found["made"], found["token"])
        except (OSError, ValueError):
            return None

    def write(self) -> None:
        """Write down whose the folder is now."""
        (self.folder / NOTE).write_text(json.dumps({"made": self.made, "token": self.token}))

    def remove(self) -> None:
        """Remove the folder, and what was made of the way there if it holds nothing else."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            for above in self.made:
                Path(above).rmdir()

    def leave(self) -> None:
        """Leave what was brought here, and nothing else."""
        shutil.rmtree(self.folder / TEMPORARY, ignore_errors=True)
        (self.folder / NOTE).unlink(missing_ok=True)


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a session's folder. Raises Refused where another session holds it, and OSError where it is not there."""
    while True:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # It may have been removed between the two calls, and what is locked then is nobody's.
            if os.path.samestat(folder.stat(), os.fstat(handle)):
                yield
                return
        except BlockingIOError:
            raise Refused("busy", f"another session is using {folder}") from None
        finally:
            os.close(handle)


def cache_folder() -> Path:
    """Return where edgepack may keep things on this board."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepack"
