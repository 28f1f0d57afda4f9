"""Files and a manifest become one reproducible bundle, which appears under its name only when it is whole."""

import contextlib
import hashlib
import importlib.metadata
import io
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

import runner
from runner import archive, codec, install
from runner.archive import Member
from runner.bundle import HOST_REPORT, MANIFEST
from runner.errors import StepError
from runner.manifest import Entry, Manifest
from runner.report import Report

SUFFIX = ".edgepack"
VENDORED = ("click", "cattrs", "attrs", "typing_extensions")
"""What the runner imports of others, all pure Python; numpy and the runtimes are the device's own."""
MAX_CONTENT_BYTES = archive.MAX_BYTES - (256 << 20)
"""Room is left for headers and for the host report."""
CHUNK_BYTES = 1 << 20
EXAMPLE = Path(__file__).with_name("example.py")
"""How a program uses a bundle: it lies in each, and stands in the README."""

STARTER = f'''"""Measures this bundle on this machine: python3 NAME.edgepack [-o report.json]; see --help."""

# Read by whatever Python there is, be it Python 2: nothing newer stands above the first check.
import sys

if sys.version_info < {install.LEAST_PYTHON}:
    sys.stderr.write(
        "This bundle needs Python 3.11 or newer, and this is %d.%d.\\n"
        "  try: {install.NEWER_PYTHON}\\n" % tuple(sys.version_info[:2])
    )
    if sys.maxsize < 2**32:
        sys.stderr.write(
            "This Python is of 32 bits, too, and the runtimes have no wheels for that, whatever its version.\\n"
            "  try: {install.LARGER_SYSTEM}\\n"
        )
    sys.exit(4)

from pathlib import Path

from runner.cli import run_bundle

sys.exit(run_bundle(Path(__file__).parent, sys.argv[1:]))
'''.encode()


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """One file that goes into the bundle: its bytes, or where they are."""

    path: str
    source: bytes | Path

    @property
    def size_bytes(self) -> int:
        """How long it is."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.stat().st_size


@contextlib.contextmanager
def draft(destination: Path) -> Iterator[Path]:
    """Yield a path beside `destination`; what is there at the end takes its name, and after a failure it is gone.

    Raises StepError where the folder cannot be written.
    """
    path = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    with _telling(destination):
        destination.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    try:
        yield path
        with _telling(destination):
            path.replace(destination)
    finally:
        path.unlink(missing_ok=True)


def write(path: Path, manifest: Manifest, contents: tuple[Content, ...]) -> None:
    """Write a bundle of `contents` that has no host report yet; equal inputs give equal bytes.

    Raises StepError where the disk is full or a file is too large for a bundle.
    """
    program = _runner_files()
    _hold_size((*program, *contents))
    listed = replace(manifest, entries=tuple(_entry(content) for content in (*program, *contents)))
    text = codec.write_json(listed, indent=2).encode()
    with _telling(path), path.open("wb") as file:
        _store(file, (), (*program, Content(path=MANIFEST, source=text), *contents))


def write_program(path: Path) -> None:
    """Write the runner without a bundle around it, for `python3 PATH device`. Raises StepError."""
    with _telling(path), path.open("wb") as file:
        _store(file, (), _runner_files())


def add_host_report(path: Path, report: Report) -> None:
    """Append the host report to a bundle that has none, and see that the disk has it all. Raises StepError."""
    text = codec.write_json(report).encode()
    with _telling(path), path.open("r+b") as file:
        _store(file, archive.read(file), (Content(path=HOST_REPORT, source=text),))
        file.flush()
        os.fsync(file.fileno())


def array_bytes(array: NDArray[np.generic]) -> bytes:
    """Return an array as the bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


def arrays_bytes(arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return named arrays as the bytes of an .npz file; equal arrays give equal bytes."""
    file = io.BytesIO()
    _store(file, (), tuple(Content(path=f"{name}.npy", source=array_bytes(array)) for name, array in arrays.items()))
    return file.getvalue()


@contextlib.contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn what the disk says into an error that leads on."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise StepError(what, where=str(path), advice="another folder with -o, or free some space") from None


def _store(file: BinaryIO, before: tuple[Member, ...], contents: tuple[Content, ...]) -> None:
    """Write `contents` and a new directory behind the members that stand before them."""
    members = list(before)
    for content in contents:
        size_bytes, crc32 = 0, 0
        for chunk in _chunks(content):
            size_bytes, crc32 = size_bytes + len(chunk), zlib.crc32(chunk, crc32)
        start = members[-1].end if members else 0
        members.append(archive.member(content.path, size_bytes, crc32, start=start))
        file.seek(start)
        file.write(archive.local_header(members[-1]))
        for chunk in _chunks(content):
            file.write(chunk)
    file.write(archive.directory(members))


def _hold_size(contents: tuple[Content, ...]) -> None:
    total = sum(content.size_bytes for content in contents)
    if total > MAX_CONTENT_BYTES:
        what = f"the bundle's files have {total:,} bytes, and those of a bundle have at most {MAX_CONTENT_BYTES:,}"
        advice = (
            "fewer evaluation samples with --eval-samples, a smaller --image-size, or a target with fewer artifacts"
        )
        raise StepError(what, advice=advice)


def _entry(content: Content) -> Entry:
    found, size_bytes = hashlib.sha256(), 0
    for chunk in _chunks(content):
        found.update(chunk)
        size_bytes += len(chunk)
    return Entry(path=content.path, size_bytes=size_bytes, sha256=found.hexdigest())


def _chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content.source, bytes):
        yield content.source
        return
    with content.source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _runner_files() -> tuple[Content, ...]:
    """Return the runner and what it imports of others, as they are installed here."""
    root = Path(runner.__file__).parent
    files: dict[str, Path] = {f"runner/{path.relative_to(root).as_posix()}": path for path in root.rglob("*.py")}
    for name in VENDORED:
        files |= _modules(name) | _licences(name)
    files |= _licences("edgepack")
    files[EXAMPLE.name] = EXAMPLE
    starter = Content(path="__main__.py", source=STARTER)
    return (starter, *(Content(path=path, source=files[path]) for path in sorted(files)))


def _modules(name: str) -> dict[str, Path]:
    """Return a distribution's modules: path in the bundle -> file here. Raises StepError where it lists none."""
    found = {str(path): file for path, file in _files(name).items() if path.suffix == ".py" and ".." not in path.parts}
    if not found:
        what = f"the runner in a bundle needs {name}, and its installation here does not say which files it has"
        raise StepError(what, advice=f"pip install --force-reinstall {name}")
    return found


def _licences(name: str) -> dict[str, Path]:
    """Return a distribution's licence files: path in the bundle -> file here."""
    return {
        f"licences/{name}/{path.name}": file
        for path, file in _files(name).items()
        if ".dist-info" in str(path) and "licen" in str(path).lower()
    }


def _files(name: str) -> dict[importlib.metadata.PackagePath, Path]:
    try:
        return {path: Path(str(path.locate())) for path in importlib.metadata.files(name) or ()}
    except importlib.metadata.PackageNotFoundError:
        return {}
