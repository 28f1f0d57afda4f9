"""Open a bundle and trust nothing in it: every entry is checked before anybody is given a byte.

A bundle is a ZIP file of stored entries that lie one behind the other, so that each is a plain range of the file
and arrays are memory-mapped in place:

    __main__.py            starts the runner on this very file
    example.py             how a program uses it
    runner/…               the runner that made it, and the pure-Python packages that it needs, with their licences
    manifest.json          says what the bundle is; lists every entry but itself and the host report
    artifacts/…            fp32.onnx, int8.onnx, int8.torchscript.pt …
    eval/inputs.npy        N x C x H x W, as stored: the manifest's preprocess makes them what the network sees
    eval/labels.npy        N class indices
    eval/reference.npz     N x classes logits of the fp32 model on the host, and of each artifact
    host-report.json       what the runner measured of it on the host; last, for it alone holds measured times
"""

import dataclasses
import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from runner import archive, codec, report, report_reader
from runner.archive import Member
from runner.arrays import ArrayLocation
from runner.errors import BundleError
from runner.manifest import SCHEMA, Entry, Manifest

MANIFEST = "manifest.json"
HOST_REPORT = "host-report.json"
INPUTS = "eval/inputs.npy"
LABELS = "eval/labels.npy"
REFERENCE = "eval/reference.npz"
FP32_REFERENCE = "reference"
"""The key in `reference.npz` of the fp32 model's logits; the others are names of artifacts."""

MAX_MANIFEST_BYTES = 16 << 20
MAX_HEADER_BYTES = 1 << 10
CHUNK_BYTES = 1 << 20
ARRAY_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(..)\{'descr': '(\|[bui]1|[<>](?:[ui][248]|f[248]))', 'fortran_order': False, "
    rb"'shape': \(((?:\d{1,15}, )*(?:\d{1,15},?)?)\), \} *\n",
    re.DOTALL,
)
"""What `numpy.save` writes. numpy's own reader also takes objects, which it would unpickle, and evaluates the rest."""
COPY_AGAIN = "copy or pack the bundle again"
NOT_AS_PACKED = "its bytes are not those that were packed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """An open bundle whose every entry was found as its manifest says."""

    path: Path
    id: str
    """SHA-256 of the manifest."""
    size_bytes: int
    manifest: Manifest
    ranges: Mapping[str, Member]

    def read(self, entry: str) -> bytes:
        """Return the bytes of an entry, and hold the hash again of one that the manifest lists. Raises BundleError."""
        place = self.ranges[entry]
        with self.path.open("rb") as file:
            file.seek(place.offset)
            content = file.read(place.size_bytes)
        listed = next((item for item in self.manifest.entries if item.path == entry), None)
        if listed and hashlib.sha256(content).hexdigest() != listed.sha256:
            raise self._changed(entry)
        return content

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
            raise self._changed(entry)
        return path

    def _changed(self, entry: str) -> BundleError:
        return BundleError(f"{entry} was changed while it was read", where=str(self.path), advice=COPY_AGAIN)

    def locate(self, entry: str) -> ArrayLocation:
        """Return where the values of an .npy entry lie, to be memory-mapped. Raises BundleError."""
        with self.path.open("rb") as file:
            return _array(self.path, file, entry, self.ranges[entry])

    def labels(self) -> NDArray[np.int64]:
        """Return the evaluation set's class indices. Raises BundleError."""
        found = self.locate(LABELS).open()
        if found.dtype.kind not in "iu":
            raise BundleError(f"{LABELS}: expected integers, got {found.dtype}", where=str(self.path))
        return np.array(found, np.int64)

    def reference(self) -> dict[str, NDArray[np.float32]]:
        """Return the host's logits, N x classes: of the fp32 model, and of each artifact by its name."""
        return {name: np.array(place.open(), np.float32) for name, place in self.reference_places().items()}

    def reference_places(self) -> dict[str, ArrayLocation]:
        """Return where the host's logits lie, by the same names: of some rows of one only these need be read."""
        whole = self.ranges[REFERENCE]
        with self.path.open("rb") as file:
            try:
                inner = archive.read(file, base=whole.offset, size_bytes=whole.size_bytes)
            except archive.MalformedError as error:
                raise BundleError(f"{REFERENCE}: {error}", where=str(self.path), advice=COPY_AGAIN) from None
            places = {it.name: dataclasses.replace(it, offset=whole.offset + it.offset) for it in inner}
            arrays = {name: _array(self.path, file, f"{REFERENCE}: {name}", place) for name, place in places.items()}
        return {name.removesuffix(".npy"): array for name, array in arrays.items()}

    def host_report(self) -> report.Report | None:
        """Return the report that was made on the host, or None while the bundle is still being made."""
        return self._host_report(report_reader.read)

    def host_summary(self) -> report.Report | None:
        """Return that report without its record: what a choice is made by, in a tenth of the memory."""
        # Whole it is: its checksum was held when the bundle was opened.
        return self._host_report(report_reader.read_summary)

    def _host_report(self, read: Callable[[bytes, str], report.Report]) -> report.Report | None:
        if HOST_REPORT not in self.ranges:
            return None
        found = read(self.read(HOST_REPORT), f"{self.path}: {HOST_REPORT}")
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
    try:
        ranges = {it.name: it for it in archive.read(file)}
    except archive.MalformedError as error:
        raise BundleError(f"is not a bundle, or a damaged one: {error}", where=str(path), advice=COPY_AGAIN) from None
    text = _manifest_text(path, file, ranges)
    manifest = _read_manifest(path, text)
    problems = [*_listing_problems(manifest, ranges), *_content_problems(manifest)]
    problems = problems or list(_damage(file, manifest.entries, ranges))
    if problems:
        raise BundleError("; ".join(problems), where=str(path), advice=COPY_AGAIN)
    bundle_id = hashlib.sha256(text).hexdigest()
    return Bundle(path=path, id=bundle_id, size_bytes=file.seek(0, 2), manifest=manifest, ranges=ranges)


def _manifest_text(path: Path, file: BinaryIO, ranges: Mapping[str, Member]) -> bytes:
    if MANIFEST not in ranges:
        raise BundleError(f"is a ZIP file without {MANIFEST}: not a bundle", where=str(path))
    if ranges[MANIFEST].size_bytes > MAX_MANIFEST_BYTES:
        raise BundleError(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes", where=str(path))
    text = b"".join(_chunks(file, ranges[MANIFEST]))
    if zlib.crc32(text) != ranges[MANIFEST].crc32:
        raise BundleError(f"{MANIFEST}: {NOT_AS_PACKED}", where=str(path), advice=COPY_AGAIN)
    return text


def _read_manifest(path: Path, text: bytes) -> Manifest:
    try:
        return codec.read_versioned(Manifest, text, SCHEMA)
    except codec.InvalidDocumentError as error:
        raise BundleError(str(error), where=f"{path}: {MANIFEST}") from None


def _listing_problems(manifest: Manifest, ranges: Mapping[str, Member]) -> Iterator[str]:
    listed = {entry.path: entry for entry in manifest.entries}
    for name, count in Counter(entry.path for entry in manifest.entries).items():
        if count > 1:
            yield f"{name}: is listed {count} times in the manifest"
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
    for names in ([it.name for it in manifest.artifacts], [PurePosixPath(it.path).name for it in manifest.artifacts]):
        if len(set(names)) < len(names):
            yield "two artifacts have one name"
    if not manifest.artifacts:
        yield "the manifest names no artifact"


def _damage(file: BinaryIO, entries: tuple[Entry, ...], ranges: Mapping[str, Member]) -> Iterator[str]:
    """Yield what is not as it was packed; the manifest and the host report stand in no list, and have checksums."""
    listed = {entry.path: entry.sha256 for entry in entries}
    for name, place in ranges.items():
        found, crc32 = hashlib.sha256(), 0
        for chunk in _chunks(file, place):
            found.update(chunk)
            crc32 = zlib.crc32(chunk, crc32)
        if crc32 != place.crc32 or found.hexdigest() != listed.get(name, found.hexdigest()):
            yield f"{name}: {NOT_AS_PACKED}"


def _chunks(file: BinaryIO, place: Member) -> Iterator[bytes]:
    file.seek(place.offset)
    left = place.size_bytes
    while left and (chunk := file.read(min(left, CHUNK_BYTES))):
        left -= len(chunk)
        yield chunk


def _array(path: Path, file: BinaryIO, entry: str, place: Member) -> ArrayLocation:
    """Return where an array lies, by the one header that numpy writes for arrays of numbers."""
    file.seek(place.offset)
    header = ARRAY_HEADER.match(file.read(min(place.size_bytes, MAX_HEADER_BYTES)))
    if header is None or len(header[0]) != 10 + int.from_bytes(header[1], "little"):
        raise BundleError(f"{entry}: is not an array of numbers in C order", where=str(path), advice=COPY_AGAIN)
    dtype = np.dtype(header[2].decode())
    shape = tuple(int(length) for length in header[3].replace(b",", b" ").split())
    offset = place.offset + len(header[0])
    if not math.prod(shape) or place.end - offset != dtype.itemsize * math.prod(shape):
        raise BundleError(f"{entry}: its header and its size disagree", where=str(path), advice=COPY_AGAIN)
    return ArrayLocation(path=path, offset=offset, shape=shape, dtype=dtype.str)
