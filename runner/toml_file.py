"""Read a TOML file that a user wrote."""

from pathlib import Path
from typing import TypeVar

from runner import codec
from runner.errors import UsageError

T = TypeVar("T")


def read(cls: type[T], path: Path, *, advice: str) -> T:
    """Build a `cls` from a file. Raises UsageError with every problem, and the advice where it says something wrong."""
    try:
        return codec.read_toml(cls, path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except UnicodeDecodeError:
        raise UsageError("is not a text file", where=str(path)) from None
    except codec.InvalidDocumentError as error:
        raise UsageError(str(error), where=str(path), advice=advice) from None
