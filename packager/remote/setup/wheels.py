"""Collects here the wheels that a board needs, which may be of another machine, Python and libc than this host.

pip downloads for other platforms, but judges the conditions of requirements by the platform that it runs on: for an ARM
board it would bring CUDA's libraries from an x86 host. So each wheel is asked for alone, and its own requirements are
read and judged here.
"""

import contextlib
import fcntl
import functools
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.metadata import Metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from packager.remote.environment import BoardPython
from packager.remote.setup import pip
from runner.errors import RuntimeUnavailable, StepError
from runner.install import NO_DEPS
from runner.progress import Progress, Silent

METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
ROUNDS = 500
"""More downloads than any set of packages needs, unless their requirements chase each other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wheel:
    """A wheel on this host."""

    path: Path
    name: NormalizedName
    version: Version
    requires: tuple[Requirement, ...]
    installed_bytes: int

    @property
    def size_bytes(self) -> int:
        """How long the file is."""
        return self.path.stat().st_size


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """A requirement, and which package has it; empty for one of the user's."""

    requirement: Requirement
    by: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """The wheels for one kind of board that are here already, and where others come from."""

    folder: Path
    python: BoardPython
    options: tuple[str, ...] = ()
    """Of pip: where to look. Without any the user's own configuration holds."""

    def find(self, name: NormalizedName, needs: Sequence[Need]) -> Wheel:
        """Return the newest wheel here that meets the needs, or else what pip brings.

        Raises RuntimeUnavailable where there is none, and StepError where pip or this host fails.
        """
        wanted = _merged(needs)
        with _locked(self.folder):
            here = (path for path in self.folder.glob("*.whl") if parse_wheel_filename(path.name)[0] == name)
            suited = [path for path in here if wanted.contains(parse_wheel_filename(path.name)[1])]
            newest = max(suited, key=lambda path: parse_wheel_filename(path.name)[1], default=None)
            return read_wheel(newest or self._download(f"{name}{wanted}", needs))

    def _download(self, requirement: str, needs: Sequence[Need]) -> Path:
        platforms = [word for platform in self.python.platforms for word in ("--platform", platform)]
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=".download-") as fresh:
            command = [
                *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
                *("--implementation", "cp", "--python-version", self.python.version, *platforms),
                *("--disable-pip-version-check", "--progress-bar", "off", "--dest", fresh, *self.options, requirement),
            ]
            found = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
            if found.returncode:
                raise self._failed(requirement, needs, (found.stdout + found.stderr).splitlines())
            path = next(Path(fresh).glob("*.whl"))
            return path.replace(self.folder / path.name)

    def _failed(self, requirement: str, needs: Sequence[Need], lines: Sequence[str]) -> RuntimeUnavailable | StepError:
        told = pip.failure(lines)
        match told.cause:
            case "no-wheel" if len({each.requirement.specifier for each in needs}) > 1:
                asked = "; ".join(f"{each.by or 'edgepack'} wants {each.requirement}" for each in needs)
                what = f"no version of {needs[0].requirement.name} suits all: {asked}"
                return RuntimeUnavailable(what, where=self.python.name, advice="other versions of these packages")
            case "no-wheel":
                what = f"there is no wheel of {requirement} for this kind of board: {told.line}"
                advice = "another Python or a newer system on the board, or your own index in pip's configuration"
                return RuntimeUnavailable(what, where=self.python.name, advice=advice)
            case "network":
                advice = "a network here, or an index that can be reached, in pip's configuration"
            case "no-space":
                advice = "free some space, or XDG_CACHE_HOME=another/folder"
            case _ if "No module named pip" in told.line:
                advice = f"{sys.executable} -m ensurepip"
            case _:
                advice = f"{sys.executable} -m pip download {requirement}, which shows all of it"
        return StepError(f"pip cannot download {requirement} here: {told.line}", where="--offline", advice=advice)


def collect(wanted: Sequence[str], store: Store, progress: Progress | None = None) -> tuple[Wheel, ...]:
    """Return wheels for all that is wanted and all that these need on the board: one version of each project.

    Raises RuntimeUnavailable where there are none, or none that go together, and StepError where this host fails.
    """
    roots = [Need(requirement=Requirement(each), by="") for each in wanted]
    if NO_DEPS in store.options:
        return tuple(store.find(canonicalize_name(each.requirement.name), [each]) for each in roots)
    chosen: dict[NormalizedName, Wheel] = {}
    with (progress or Silent()).task("wheels for the board", len(roots)) as advance:
        for _ in range(ROUNDS):
            needs = _needs(roots, chosen, store.python)
            name = next((name for name, each in needs.items() if not _met(chosen.get(name), each)), None)
            if name is None:
                return tuple(chosen[name] for name in needs)
            chosen[name] = store.find(name, needs[name])
            advance(not all(each.by for each in needs[name]), f"{name} {chosen[name].version}")
    what = "the requirements of these packages chase each other"
    raise RuntimeUnavailable(what, where=", ".join(wanted), advice="a version of each, such as numpy==2.4.6")


def read_wheel(path: Path) -> Wheel:
    """Read what a wheel says of itself. Raises StepError where it is damaged."""
    name, version, _, _ = parse_wheel_filename(path.name)
    try:
        with zipfile.ZipFile(path) as file:
            entry = next(
                each for each in file.namelist() if each.count("/") == 1 and each.endswith("dist-info/METADATA")
            )
            # Of old wheels other fields may not be valid, which is no matter here.
            metadata = Metadata.from_email(file.read(entry), validate=False)
            installed = sum(each.file_size for each in file.infolist())
        requires = tuple(metadata.requires_dist or ())
    except (OSError, zipfile.BadZipFile, StopIteration, InvalidRequirement, ExceptionGroup) as error:
        raise StepError(f"is damaged: {error or 'no METADATA'}", where=str(path), advice=f"rm '{path}'") from None
    return Wheel(path=path, name=name, version=version, requires=requires, installed_bytes=installed)


def _needs(
    roots: Sequence[Need], chosen: Mapping[NormalizedName, Wheel], python: BoardPython
) -> dict[NormalizedName, list[Need]]:
    """Return what is needed of each project, as far as the wheels that are chosen tell."""
    found: dict[NormalizedName, list[Need]] = {}
    waiting, seen = list(roots), set[tuple[NormalizedName, str]]()
    while waiting:
        need = waiting.pop(0)
        name = canonicalize_name(need.requirement.name)
        found.setdefault(name, []).append(need)
        for extra in ("", *sorted(need.requirement.extras)):
            if name in chosen and (name, extra) not in seen:
                seen.add((name, extra))
                waiting += _asked(chosen[name], python, extra)
    return found


def _asked(wheel: Wheel, python: BoardPython, extra: str) -> Iterator[Need]:
    """Yield what a wheel needs on the board, with an extra of its own or without."""
    for requirement in wheel.requires:
        if requirement.marker is None:
            if not extra:
                yield Need(requirement=requirement, by=wheel.name)
        elif requirement.marker.evaluate(python.markers(extra)):
            yield Need(requirement=requirement, by=wheel.name)


def _met(wheel: Wheel | None, needs: Sequence[Need]) -> bool:
    return wheel is not None and _merged(needs).contains(wheel.version, prereleases=True)


def _merged(needs: Sequence[Need]) -> SpecifierSet:
    return functools.reduce(lambda all_, each: all_ & each.requirement.specifier, needs, SpecifierSet())


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one session at a time look and download: the next finds it here."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)
    except OSError as error:
        what = f"the wheels cannot be kept: {error.strerror}"
        raise StepError(what, where=str(folder), advice="free some space, or XDG_CACHE_HOME=another/folder") from None
