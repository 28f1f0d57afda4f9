"""By how much one artifact's latency differs between two sessions on this device: measured once, and remembered.

It is of sessions that follow each other: a reboot, or another season, may bring more. It lies in the user's state
folder (XDG Base Directory Specification), in a file for each kind of device, frequency governor and number of threads.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner import atomic, codec
from runner.errors import EdgepackError
from runner.facts import DeviceFacts

SCHEMA = "1.0"
ADVICE = "XDG_STATE_HOME=… with a folder that you may write in"


@dataclass(frozen=True, kw_only=True, slots=True)
class NoiseFloor:
    """What `selftest` has found on a device."""

    schema: str = SCHEMA
    device: str
    floor: float
    """The largest difference, as a fraction, of the pairs of sessions in which nothing was changed."""
    pairs: int
    threads: int
    created: str
    """UTC, ISO 8601."""


def folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where floors are remembered. Raises EdgepackError for a user without a home folder."""
    base = Path(environment.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():
        try:
            base = Path.home() / ".local" / "state"
        except RuntimeError:
            raise EdgepackError("this user has no home folder to remember a noise floor in", advice=ADVICE) from None
    return base / "edgepack"


def path(facts: DeviceFacts, threads: int) -> Path:
    """Return the file of a device: another CPU, board, governor or number of CPUs is another. Raises as `folder`."""
    what = [
        facts.machine,
        facts.cpu,
        facts.cpus,
        facts.board,
        facts.hypervisor,
        list(facts.cuda),
        facts.governor,
        threads,
    ]
    return folder() / f"noise-floor-{codec.digest(what)[:16]}.json"


def load(facts: DeviceFacts, threads: int) -> float | None:
    """Return the floor of a device with so many threads, or None where it was never measured, or is of no use."""
    found = _read(facts, threads)
    return found.floor if found else None


def store(facts: DeviceFacts, found: NoiseFloor) -> NoiseFloor:
    """Remember the floor of a device, and return what is remembered now. Raises EdgepackError where it cannot be.

    It takes the place of an earlier one where it is larger, or was measured with more pairs: the largest of as many
    pairs that happens to be smaller may have met a quiet hour.
    """
    earlier = _read(facts, found.threads)
    if earlier and earlier.floor > found.floor and earlier.pairs >= found.pairs:
        return earlier
    destination = path(facts, found.threads)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise EdgepackError(what, where=str(destination.parent), advice=ADVICE) from None
    atomic.write(destination, codec.write_json(found, indent=2))
    return found


def _read(facts: DeviceFacts, threads: int) -> NoiseFloor | None:
    try:
        found = codec.read_versioned(NoiseFloor, path(facts, threads).read_bytes(), SCHEMA)
    except (OSError, EdgepackError, codec.InvalidDocumentError):
        return None
    return found if found.floor >= 0 else None
