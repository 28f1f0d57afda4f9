"""Which boards there are and how ssh reaches them: as named on the command line, or in an inventory file."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner import toml_file
from runner.errors import UsageError

NAME = re.compile(r"[^A-Za-z0-9._@-]+")
INVENTORY = '[hosts.pi5]\naddress = "pi@raspberrypi.local"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Host:
    """A board, as an inventory has it."""

    address: str
    """What ssh is given: HOST, USER@HOST, ssh://USER@HOST:PORT, or an alias of the user's own ssh configuration."""
    port: int | None = None
    python: str | None = None
    """The Python to use there; by default the newest that suffices."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inventory:
    """A file of boards, by their names."""

    hosts: dict[str, Host]


@dataclass(frozen=True, kw_only=True, slots=True)
class Destination:
    """A board to be reached."""

    name: str
    """As tables and files have it."""
    host: Host
    ssh_config: Path | None = None
    """Instead of the user's own configuration of ssh."""

    @property
    def slug(self) -> str:
        """The name as a part of file names."""
        return NAME.sub("-", self.name).strip(".-") or "board"


def destinations(on: Sequence[str], inventory: Path | None, ssh_config: Path | None = None) -> tuple[Destination, ...]:
    """Return the boards that are named, or all of the inventory where none is. Raises UsageError."""
    known = load(inventory).hosts if inventory else {}
    names = tuple(dict.fromkeys(on or known))
    if not names:
        raise UsageError("name a board", where="--on", advice="--on pi@raspberrypi.local, or --inventory hosts.toml")
    if ssh_config and not ssh_config.is_file():
        raise UsageError("is not a file", where=str(ssh_config), advice="a file as ~/.ssh/config is")
    found = tuple(
        Destination(name=name, host=_checked(known.get(name, Host(address=name)), name), ssh_config=ssh_config)
        for name in names
    )
    _hold_apart(found)
    return found


def load(path: Path) -> Inventory:
    """Read an inventory. Raises UsageError."""
    found = toml_file.read(Inventory, path, advice=f"a table for each board, such as\n{INVENTORY}")
    if not found.hosts:
        raise UsageError("names no host", where=str(path), advice=f"a table for each, such as\n{INVENTORY}")
    return found


def _checked(host: Host, name: str) -> Host:
    """Refuse what ssh would take for something else than an address."""
    if not host.address or host.address.startswith("-") or re.search(r"[\s\x00-\x1f\x7f]", host.address):
        what = f"{host.address!r} is no address of a board" + (f" ({name})" if name != host.address else "")
        raise UsageError(what, where="--on", advice="HOST, USER@HOST, or a name of your ssh configuration")
    if host.python and not host.python.isprintable():
        raise UsageError(f"{host.python!r} is no path", where=f"hosts.{name}.python", advice="a Python on the board")
    if host.port is not None and not 0 < host.port < 1 << 16:
        raise UsageError(f"{host.port} is no port", where=f"hosts.{name}.port", advice="1 to 65535, or leave it out")
    return host


def _hold_apart(found: Sequence[Destination]) -> None:
    slugs: dict[str, str] = {}
    for each in found:
        other = slugs.setdefault(each.slug.lower(), each.name)
        if other != each.name:
            what = f"{other!r} and {each.name!r} would have reports of one name"
            raise UsageError(what, where="--on", advice="names of their own in an inventory")
