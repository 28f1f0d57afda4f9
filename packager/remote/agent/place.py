"""Where a session keeps its things on the board."""

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from packager.remote.agent.channel import Refused

NOTE = ".session"
"""Whose the folder is."""
MADE = ".made"
"""Beside the sessions' folders: what of the way there was not there before."""
TEMPORARY = "tmp"
"""What programs write goes in here: no session finds what an earlier one left."""


@dataclasses.dataclass
class Place:
    """Where a session keeps its things."""

    folder: Path
    lock: int
    """A handle that holds it for this session."""
    token: str
    """Of the session that came last."""

    def remove(self) -> None:
        """Remove the folder, and what was made of the way there if no other session is in it."""
        with _alone():
            _discard(self.folder)

    def remove_abandoned(self) -> None:
        """Remove the folder unless another session has come to it, or left on purpose what is there."""
        with contextlib.suppress(Refused, OSError), _alone(), contextlib.closing(_Lock(self.folder)):
            if (self.folder / NOTE).read_text() == self.token:
                _discard(self.folder)

    def leave(self, kept: Collection[str]) -> None:
        """Leave what is to be kept of what was brought here, and nothing else."""
        with _alone():
            for path in self.folder.iterdir():
                if path.name in kept:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
            if not any(self.folder.iterdir()):
                _discard(self.folder)
            else:
                (self.folder.parent / MADE).unlink(missing_ok=True)


@contextlib.contextmanager
def taken(folder: Path) -> Iterator[Place]:
    """Make a folder, or take over what a session that was cut off has left there, and hold it for this session.

    Raises Refused where another session holds it.
    """
    with contextlib.ExitStack() as stack:
        with _alone():
            missing = [str(above) for above in folder.parents if not above.exists()]
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if missing:
                    (folder.parent / MADE).write_text(json.dumps(missing))
                lock = stack.enter_context(contextlib.closing(_Lock(folder)))
                shutil.rmtree(folder / TEMPORARY, ignore_errors=True)
                place = Place(folder, lock.handle, secrets.token_hex(8))
                (folder / NOTE).write_text(place.token)
            except OSError:
                _discard(folder, missing)
                raise
        yield place


def cache_folder() -> Path:
    """Return where edgepack may keep things on this board."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgepack"


class _Lock:
    """Holds a folder. Raises Refused where another session does."""

    def __init__(self, folder: Path) -> None:
        self.handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Refused("busy", f"another session is using {folder}") from None
        except OSError:
            pass  # a file system that has no locks for folders, such as NFS: better none than no run

    def close(self) -> None:
        os.close(self.handle)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other sessions meanwhile from making or removing the folders that all of them share."""
    handle = os.open(Path.home(), os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _discard(folder: Path, made: list[str] | None = None) -> None:
    """Remove a session's folder, and what was made of the way there if no other session is in it."""
    shutil.rmtree(folder, ignore_errors=True)
    note = folder.parent / MADE
    with contextlib.suppress(OSError, ValueError):
        if any(other != note for other in folder.parent.iterdir()):
            return
        made = made or json.loads(note.read_text())
    with contextlib.suppress(OSError):
        note.unlink(missing_ok=True)
        for above in made or ():
            Path(above).rmdir()
