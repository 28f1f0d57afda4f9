"""Open a bundle and trust nothing in it: every entry is checked before anybody is given a byte.

A bundle is a ZIP file of stored entries that lie one behind the other, so that each is a plain range of the file
and arrays are memory-mapped in place:

    __main__.py            starts the runner on this very file
    runner/…               the runner that made it, and the pure-Python packages that it needs, with their licences
    manifest.json          says what the bundle is; lists every entry but itself and the host report
    artifacts/…            fp32.onnx, int8.onnx, int8.torchscript.pt …
    eval/inputs.npy        N x C x H x W, as stored: the manifest's preprocess makes them what the network sees
    eval/labels.npy        N class indices
    eval/reference.npz     N x classes logits of the fp32 model on the host, and of each artifact
    host-report.json       what the runner measured of it on the host; last, for it alone holds measured times
"""

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from runner import codec, report
from runner.errors import BundleError
from runner.manifest import SCHEMA, Entry, Manifest
from runner.worker import ArrayLocation

MANIFEST = "manifest.json"
HOST_REPORT = "host-report.json"
INPUTS = "eval/inputs.npy"
LABELS = "eval/labels.npy"
REFERENCE = "eval/reference.npz"
FP32_REFERENCE = "reference"
"""The key in `reference.npz` of the fp32 model's logits; the others are names of artifacts."""

MAX_MANIFEST_BYTES = 16 << 20
CHUNK_BYTES = 1 << 20
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
ZIP64_SIZE = 0xFFFFFFFF
COPY_AGAIN = "copy or pack the bundle again"


@dataclass(frozen=True, kw_only=True, slots=True)
class Range:
    """Where an entry's bytes lie in the file."""

    offset: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """An open bundle whose every entry was found as its manifest says."""

    path: Path
    id: str
    """SHA-256 of the manifest."""
    size_bytes: int
    manifest: Manifest
    ranges: Mapping[str, Range]

    def read(self, entry: str) -> bytes:
        """Return the bytes of an entry."""
        place = self.ranges[entry]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            return file.read(place.size_bytes)

    def extract(self, entry: str, folder: Path) -> Path:
        """Write an entry as a file of its own name into `folder`, hold its hash again, and return its path."""
        listed = next(item for item in self.manifest.entries if item.path == entry)
        path = folder / PurePosixPath(entry).name
        with self.path.open("rb") as source, path.open("wb") as file:
            place = self.ranges[entry]
            found = hashlib.sha256()
            for chunk in _chunks(source, place):
                found.update(chunk)
                file.write(chunk)
        if found.hexdigest() != listed.sha256:
            raise BundleError(f"{entry} was changed while it was read", where=str(self.path), advice=COPY_AGAIN)
        return path

    def locate(self, entry: str) -> ArrayLocation:
        """Return where the values of an .npy entry lie, to be memory-mapped. Raises BundleError."""
        place = self.ranges[entry]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            shape, dtype = _array_header(file, entry, self.path)
            offset = file.tell()
        if offset - place.offset + dtype.itemsize * int(np.prod(shape)) != place.size_bytes:
            raise BundleError(f"{entry}: its header and its size disagree", where=str(self.path), advice=COPY_AGAIN)
        return ArrayLocation(path=self.path, offset=offset, shape=shape, dtype=dtype.str)

    def labels(self) -> NDArray[np.int64]:
        """Return the evaluation set's class indices."""
        return np.asarray(self.locate(LABELS).open(), np.int64)

    def reference(self) -> dict[str, NDArray[np.float32]]:
        """Return the host's logits, N x classes: of the fp32 model, and of each artifact by its name."""
        try:
            with np.load(io.BytesIO(self.read(REFERENCE)), allow_pickle=False) as arrays:
                return {name: np.asarray(arrays[name], np.float32) for name in arrays.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"{REFERENCE}: not readable: {error}", where=str(self.path), advice=COPY_AGAIN) from None

    def host_report(self) -> report.Report | None:
        """Return the report that was made on the host, or None while the bundle is still being made."""
        if HOST_REPORT not in self.ranges:
            return None
        found = report.read(self.read(HOST_REPORT), f"{self.path}: {HOST_REPORT}")
        if found.bundle_id != self.id:
            raise BundleError("its host report is that of another bundle", where=str(self.path), advice=COPY_AGAIN)
        return found


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and hold its structure, its manifest and every hash. Raises BundleError with every problem."""
    try:
        with path.open("rb") as file:
            return _opened(path, file)
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror or error}", where=str(path)) from None


def _opened(path: Path, file: BinaryIO) -> Bundle:
    ranges = _entry_ranges(path, file)
    if MANIFEST not in ranges:
        raise BundleError(f"is a ZIP file without {MANIFEST}: not a bundle", where=str(path))
    if ranges[MANIFEST].size_bytes > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes", where=str(path))
    text = b"".join(_chunks(file, ranges[MANIFEST]))
    manifest = _read_manifest(path, text)
    problems = [*_listing_problems(manifest, ranges), *_content_problems(manifest)]
    problems = problems or list(_hash_problems(file, manifest.entries, ranges))
    if problems:
        raise BundleError("; ".join(problems), where=str(path), advice=COPY_AGAIN)
    bundle_id = hashlib.sha256(text).hexdigest()
    return Bundle(path=path, id=bundle_id, size_bytes=path.stat().st_size, manifest=manifest, ranges=ranges)


def _entry_ranges(path: Path, file: BinaryIO) -> dict[str, Range]:
    """Return where each entry lies, after refusing everything that a bundle's ZIP never has."""
    try:
        with zipfile.ZipFile(file) as archive:
            infos, directory, comment = archive.infolist(), archive.start_dir, archive.comment
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as error:
        what = f"is not a bundle, or was cut short: {error}"
        raise BundleError(what, where=str(path), advice=COPY_AGAIN) from None
    problems = [*_name_problems([info.filename for info in infos]), *_header_problems(infos)]
    if comment:
        problems.append("the archive has a comment")
    if problems:
        raise BundleError("; ".join(problems), where=str(path))
    ranges, end = {}, 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset != end:
            raise BundleError(f"{info.filename}: entries overlap or leave a gap", where=str(path), advice=COPY_AGAIN)
        ranges[info.filename] = _range(path, file, info)
        end = ranges[info.filename].offset + info.file_size
    if end != directory:
        raise BundleError("has bytes behind its last entry that belong to none", where=str(path), advice=COPY_AGAIN)
    return ranges


def _range(path: Path, file: BinaryIO, info: zipfile.ZipInfo) -> Range:
    """Return where an entry's bytes lie, after holding its local header against the central directory."""
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER.size)
    if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\x03\x04"):
        raise BundleError(f"{info.filename}: no entry where the directory says", where=str(path), advice=COPY_AGAIN)
    _, _, flags, method, _, _, _, compressed, size, name_length, extra_length = LOCAL_HEADER.unpack(header)
    name = file.read(name_length).decode("utf-8", "replace")
    sizes_agree = {compressed, size} <= {info.file_size, ZIP64_SIZE}
    if name != info.filename or method != zipfile.ZIP_STORED or flags & ~0x800 or not sizes_agree:
        raise BundleError(
            f"{info.filename}: its two headers disagree about its name or size", where=str(path), advice=COPY_AGAIN
        )
    return Range(offset=info.header_offset + LOCAL_HEADER.size + name_length + extra_length, size_bytes=info.file_size)


def _name_problems(names: list[str]) -> Iterator[str]:
    for name in names:
        parts = name.split("/")
        if name.startswith("/") or "\\" in name or ":" in name or "\0" in name or {"", ".", ".."} & set(parts):
            yield f"{name!r}: an entry's name leaves the bundle"
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{name}: more than one entry has this name"


def _header_problems(infos: list[zipfile.ZipInfo]) -> Iterator[str]:
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            yield f"{info.filename}: is compressed, and a bundle's entries never are"
        if info.flag_bits & ~0x800:
            yield f"{info.filename}: has flags that a bundle's entries never have"


def _read_manifest(path: Path, text: bytes) -> Manifest:
    try:
        return codec.read_versioned(Manifest, text, SCHEMA)
    except codec.InvalidDocumentError as error:
        raise BundleError(str(error), where=f"{path}: {MANIFEST}") from None


def _listing_problems(manifest: Manifest, ranges: Mapping[str, Range]) -> Iterator[str]:
    listed = {entry.path: entry for entry in manifest.entries}
    for name in sorted(ranges.keys() - listed.keys() - {MANIFEST, HOST_REPORT}):
        yield f"{name}: is not listed in the manifest"
    for name, entry in listed.items():
        if name not in ranges:
            yield f"{name}: is listed in the manifest and missing"
        elif ranges[name].size_bytes != entry.size_bytes:
            yield f"{name}: has {ranges[name].size_bytes} bytes, and the manifest says {entry.size_bytes}"


def _content_problems(manifest: Manifest) -> Iterator[str]:
    listed = {entry.path for entry in manifest.entries}
    for name in (INPUTS, LABELS, REFERENCE, *(artifact.path for artifact in manifest.artifacts)):
        if name not in listed:
            yield f"{name}: is needed and not listed in the manifest"
    names = [artifact.name for artifact in manifest.artifacts]
    if len(set(names)) < len(names):
        yield "two artifacts have one name"


def _hash_problems(file: BinaryIO, entries: tuple[Entry, ...], ranges: Mapping[str, Range]) -> Iterator[str]:
    for entry in entries:
        found = hashlib.sha256()
        for chunk in _chunks(file, ranges[entry.path]):
            found.update(chunk)
        if found.hexdigest() != entry.sha256:
            yield f"{entry.path}: its bytes are not those that were packed"


def _chunks(file: BinaryIO, place: Range) -> Iterator[bytes]:
    file.seek(place.offset)
    left = place.size_bytes
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _array_header(file: BinaryIO, entry: str, path: Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    try:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError) as error:
        raise BundleError(f"{entry}: not an array: {error}", where=str(path), advice=COPY_AGAIN) from None
    if fortran or dtype.hasobject:
        raise BundleError(f"{entry}: an array of objects or in Fortran order", where=str(path), advice=COPY_AGAIN)
    return shape, dtype
