"""The ZIP container of a bundle, byte for byte: stored members, one behind the other, and one directory at the end.

A ZIP file can say one thing in many ways, and its readers differ in what they believe. Here there is one way: every
byte of the headers follows from the members' names, sizes and checksums. A file is exactly that, or it is refused.
Nothing is compressed, so nothing swells, and each member is a plain range of the file.
"""

import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
LOCAL_MAGIC, CENTRAL_MAGIC, END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"

VERSION = 20
UNIX = 3 << 8
DATE_1980 = 1 << 5 | 1
MODE = 0o100644 << 16
ENCRYPTED = 1

MAX_BYTES = (1 << 32) - 2
"""Of a container: beyond it ZIP needs a second kind of header, which Python before 3.13 cannot start a program from."""
MAX_MEMBERS = (1 << 16) - 2
MAX_DIRECTORY_BYTES = 16 << 20


class MalformedError(ValueError):
    """Say what is wrong with a container."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A stored file."""

    name: str
    offset: int
    """Where its bytes lie."""
    size_bytes: int
    crc32: int

    @property
    def start(self) -> int:
        """Where its header lies."""
        return self.offset - LOCAL.size - len(self.name)

    @property
    def end(self) -> int:
        """Where its bytes end."""
        return self.offset + self.size_bytes


def member(name: str, size_bytes: int, crc32: int, *, start: int) -> Member:
    """Return a member whose header lies at `start`."""
    return Member(name=name, offset=start + LOCAL.size + len(name), size_bytes=size_bytes, crc32=crc32)


def local_header(it: Member) -> bytes:
    """Return what stands before a member's bytes."""
    sizes = (it.crc32, it.size_bytes, it.size_bytes, len(it.name), 0)
    return LOCAL.pack(LOCAL_MAGIC, VERSION, 0, 0, 0, DATE_1980, *sizes) + it.name.encode("ascii")


def directory(members: Sequence[Member]) -> bytes:
    """Return what stands behind the last member's bytes."""
    records = b"".join(_central_header(it) for it in members)
    counts = (len(members), len(members), len(records), members[-1].end if members else 0)
    return records + END.pack(END_MAGIC, 0, 0, *counts, 0)


def read(file: BinaryIO, *, base: int = 0, size_bytes: int | None = None) -> tuple[Member, ...]:
    """Return the members of the container of `size_bytes` at `base`, their offsets counted from there.

    Reads headers alone. Raises MalformedError.
    """
    size = file.seek(0, 2) if size_bytes is None else size_bytes
    start = _directory_start(file, base, size)
    file.seek(base + start)
    found = file.read(size - start)
    members = tuple(_members(found[: -END.size]))
    _hold_count(members)
    _hold_headers(file, base, members)
    if (members[-1].end if members else 0) != start or found != directory(members):
        raise MalformedError("its directory is not the one that its entries ask for")
    return members


def _hold_headers(file: BinaryIO, base: int, members: Sequence[Member]) -> None:
    """Refuse members that do not lie one behind the other, each behind its own header."""
    end = 0
    for it in members:
        if it.start != end:
            raise MalformedError(f"{it.name}: entries overlap, leave a gap or are out of order")
        file.seek(base + it.start)
        if file.read(it.offset - it.start) != local_header(it):
            raise MalformedError(f"{it.name}: its two headers disagree")
        end = it.end


def _central_header(it: Member) -> bytes:
    versions = (UNIX | VERSION, VERSION)
    sizes = (it.crc32, it.size_bytes, it.size_bytes, len(it.name))
    rest = (0, 0, 0, 0, MODE, it.start)
    return CENTRAL.pack(CENTRAL_MAGIC, *versions, 0, 0, 0, DATE_1980, *sizes, *rest) + it.name.encode("ascii")


def _directory_start(file: BinaryIO, base: int, size: int) -> int:
    file.seek(base)
    if file.read(min(size, 4)) not in (LOCAL_MAGIC, END_MAGIC):
        what = "is not a ZIP file, or has something before its first entry" if size else "is empty"
        raise MalformedError(what)
    file.seek(base + max(size - END.size, 0))
    end = file.read(min(size, END.size))
    if len(end) < END.size or not end.startswith(END_MAGIC):
        raise MalformedError("was cut short, or has something behind its end")
    *_, length, start, _ = END.unpack(end)
    if start + length + END.size != size or length > MAX_DIRECTORY_BYTES:
        raise MalformedError("its directory is not where its end says")
    return int(start)


def _members(records: bytes) -> Iterator[Member]:
    """Yield what the directory lists; of the fields that follow from others, `read` holds the bytes later."""
    at = 0
    while at < len(records):
        if len(records) - at < CENTRAL.size or records[at : at + 4] != CENTRAL_MAGIC:
            raise MalformedError("its directory is damaged")
        _, _, _, flags, method, _, _, crc32, packed, size, *lengths, _, _, _, start = CENTRAL.unpack_from(records, at)
        name = records[at + CENTRAL.size : at + CENTRAL.size + lengths[0]].decode("latin-1")
        _hold_name(name)
        if method or packed != size:
            raise MalformedError(f"{name}: is compressed, and a bundle's entries never are")
        if flags & ENCRYPTED:
            raise MalformedError(f"{name}: is encrypted, and a bundle's entries never are")
        yield member(name, size, crc32, start=start)
        at += CENTRAL.size + sum(lengths)


def _hold_name(name: str) -> None:
    if name.startswith("/") or "\\" in name or ":" in name or {"", ".", ".."} & set(name.split("/")):
        raise MalformedError(f"{name!r}: an entry's name leaves the bundle")
    if not (name.isascii() and name.isprintable()):
        raise MalformedError(f"{name!r}: an entry's name has letters that none has")


def _hold_count(members: Sequence[Member]) -> None:
    if len(members) > MAX_MEMBERS:
        raise MalformedError(f"has {len(members)} entries, and a bundle has at most {MAX_MEMBERS}")
    for name, count in Counter(it.name for it in members).items():
        if count > 1:
            raise MalformedError(f"{name}: more than one entry has this name")
