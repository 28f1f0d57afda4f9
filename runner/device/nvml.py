"""NVIDIA's management library, by the package nvidia-ml-py: opened here, for all who ask it."""

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

PACKAGE = "pynvml"
NODES = ("dev/nvidiactl", "dev/dxg")
"""A driver that has the library; that of a Jetson has another."""


class Nvml(Protocol):
    """What every release of the package has; the rest is asked by name, for names come and go."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's names
        """Find the driver."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """Why nothing can be asked."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """The library, open. What it refuses, or a release of it does not have, is None."""

    module: Nvml

    def ask(self, name: str, *arguments: object, older: str = "") -> object:
        """Return what a function says, or else its `older` name."""
        for each in filter(None, (name, older)):
            function = getattr(self.module, each, None)
            if function is None:
                continue
            try:
                return cast("object", function(*arguments))
            except self._refusals():
                continue
        return None

    def count(self, name: str, *arguments: object, older: str = "") -> int | None:
        """Return a whole number, or None."""
        found = self.ask(name, *arguments, older=older)
        return found if isinstance(found, int) and not isinstance(found, bool) else None

    def text(self, name: str, *arguments: object) -> str | None:
        """Return a text, or None."""
        return as_text(self.ask(name, *arguments))

    def switch(self, name: str, *arguments: object) -> bool | None:
        """Return whether something is on, or None; of a current and a pending state the current one."""
        found = self.ask(name, *arguments)
        found = found[0] if isinstance(found, list | tuple) and found else found
        return bool(found) if isinstance(found, int) else None

    def handles(self) -> Iterator[object]:
        """Yield every GPU of the machine, in the library's own order, which is not CUDA's."""
        for index in range(self.count("nvmlDeviceGetCount") or 0):
            handle = self.ask("nvmlDeviceGetHandleByIndex", index)
            if handle is not None:
                yield handle

    def _refusals(self) -> tuple[type[Exception], ...]:
        # That a driver is older than the package is no NVMLError.
        mismatch: object = getattr(self.module, "NVMLLibraryMismatchError", None)
        found = mismatch if isinstance(mismatch, type) and issubclass(mismatch, Exception) else self.module.NVMLError
        return self.module.NVMLError, found


def as_text(found: object) -> str | None:
    """Return a text as such, or None where it is none; older releases give bytes."""
    found = found.decode(errors="replace") if isinstance(found, bytes) else found
    return found if isinstance(found, str) else None


def open_library(root: Path, module: Nvml | None = None) -> Library | Closed:
    """Open the library, or return why that cannot be; `module` stands for the package where it is given."""
    if module is not None:
        return _initialised(module)
    if not any((root / node).exists() for node in NODES):
        return Closed(reason="there is no NVIDIA driver here that has NVML")
    return _of_this_process()


@functools.cache
def _of_this_process() -> Library | Closed:
    """Open it once: a report looks at the machine again and again."""
    if importlib.util.find_spec(PACKAGE) is None:
        return Closed(reason="nvidia-ml-py is not installed")
    return _initialised(cast("Nvml", importlib.import_module(PACKAGE)))


def _initialised(module: Nvml) -> Library | Closed:
    try:
        module.nvmlInit()
    except module.NVMLError as error:
        return Closed(reason=f"NVML cannot be opened: {error}")
    return Library(module=module)
