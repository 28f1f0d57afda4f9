"""By how much one artifact's latency differs between two sessions on this device: measured once, and remembered.

It lies in the user's state folder (XDG Base Directory Specification), in a file for each kind of device.
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


def path(facts: DeviceFacts) -> Path:
    """Return the file of a device: another CPU, board or number of CPUs is another device. Raises as `folder`."""
    key = codec.digest([facts.machine, facts.cpu, facts.cpus, facts.board, facts.virtual, list(facts.cuda)])
    return folder() / f"noise-floor-{key[:16]}.json"


def load(facts: DeviceFacts) -> float | None:
    """Return the floor of a device, or None where it was never measured, or the file is of no use."""
    try:
        found = codec.read_versioned(NoiseFloor, path(facts).read_bytes(), SCHEMA)
    except (OSError, EdgepackError, codec.InvalidDocumentError):
        return None
    return found.floor if found.floor >= 0 else None


def store(facts: DeviceFacts, found: NoiseFloor) -> Path:
    """Remember the floor of a device, and return the file. Raises EdgepackError where it cannot be written."""
    destination = path(facts)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise EdgepackError(what, where=str(destination.parent), advice=ADVICE) from None
    atomic.write(destination, codec.write_json(found, indent=2))
    return destination
