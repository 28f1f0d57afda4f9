"""What is written of one case, as it comes: who took part, and every call of every round. All figures follow."""

from dataclasses import dataclass
from pathlib import Path

from runner import atomic, codec
from runner.errors import UsageError

SCHEMA = "1.0"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entrant:
    """A contender in one case: built and tried, or not to be had."""

    name: str
    version: str = ""
    """Of the runtime; of edgepack the chosen artifact too."""
    failed: str = ""
    """Why it has no figures."""
    snr_db: float | None = None
    """Signal to noise of its answers against PyTorch's in fp32; None where they are equal, or there are none."""
    agreement: float | None = None
    """The share of the samples with fp32's answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Round:
    """Fresh processes of all contenders, in turn."""

    samples_ns: dict[str, tuple[int, ...]]
    """Of each contender every timed call."""
    failed: dict[str, str]
    """What became of those that failed this time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One network in one batch."""

    schema: str = SCHEMA
    family: str
    batch: int
    threads: int
    device: str
    """The machine in words."""
    entrants: tuple[Entrant, ...]
    rounds: tuple[Round, ...] = ()


def path(folder: Path, family: str, batch: int) -> Path:
    """Return where the record of a case lies."""
    return folder / f"{family}-batch{batch}.json"


def write(record: Record, folder: Path) -> None:
    """Write a record in the place of its former state."""
    atomic.write(path(folder, record.family, record.batch), codec.write_json(record))


def read(file: Path) -> Record | None:
    """Read a record; None where there is none yet. Raises UsageError for what is none."""
    if not file.exists():
        return None
    try:
        return codec.read_versioned(Record, file.read_bytes(), SCHEMA)
    except codec.InvalidDocumentError as error:
        raise UsageError(
            f"is no record of a comparison: {error.problems[0]}", where=str(file), advice="remove it"
        ) from None
