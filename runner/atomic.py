"""Write a file so that its name never stands for half of it."""

import os
from pathlib import Path

from runner.errors import EdgepackError, UsageError

ADVICE = "another place with -o"


def check_destination(path: Path) -> None:
    """Refuse, before long work, a path that cannot be written after it. Raises UsageError."""
    folder = path.parent
    if path.is_dir():
        problem = "is a folder: name a file"
    elif path.exists() and not path.is_file():
        # Root may: the file that takes the name would take the place of /dev/stdout for every program.
        problem = "is a device or a pipe: name a file"
    elif not folder.is_dir():
        problem = f"cannot be written: there is no folder {folder}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        problem = f"cannot be written: the folder {folder} is not yours to write in"
    else:
        return
    raise UsageError(problem, where=str(path), advice=ADVICE)


def write(path: Path, content: str | bytes) -> None:
    """Write `content` beside `path` and give it that name when the disk has all of it. Raises EdgepackError."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with draft.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise EdgepackError(what, where=str(path), advice=f"free some space, or {ADVICE}") from None
    finally:
        draft.unlink(missing_ok=True)
