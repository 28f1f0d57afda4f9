"""ExecuTorch artifacts, run by its own runtime and the XNNPACK delegate in it. Its tensors are PyTorch's.

Threads are the whole process's here: every file is run by the one pool of threads, which all of them keep.
"""

import contextlib
import importlib
import io
import re
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from runner.descriptors import STDERR, nowhere
from runner.errors import RuntimeUnavailable, first_line
from runner.operators import OperatorTime
from runner.runtimes import OnCpuAlone, Options, Profiling, installed_version
from runner.runtimes.reader import Reader

EXTENSIONS = ("executorch.extension.pybindings._C", "executorch.extension.pybindings._portable_lib")
"""Where its C++ is, since 1.1 and before. By itself: the packages around it take longer to import than all else."""
METHOD, DELEGATE = "forward", "XnnpackBackend"
READERS = "executorch 1.0.1 (with torch 2.9.1, for ARM) to 1.5 read what `pack` writes"
NO_MEMORY = re.compile(r"0x:?21\b")
"""ExecuTorch's Error::MemoryAllocationFailed."""


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep from stderr what its C++ writes there, by way of Python's or by itself, such as how many threads it has."""
    with nowhere(STDERR), contextlib.redirect_stderr(io.StringIO()):
        yield


def _extension() -> ModuleType:
    """Import ExecuTorch's C++, which wants PyTorch's to be there. Raises ImportError."""
    newer, older = EXTENSIONS
    try:
        return importlib.import_module(newer)
    except ModuleNotFoundError as error:
        if error.name != newer:
            raise
        return importlib.import_module(older)


with _silent():
    EXTENSION = _extension()


class Method(Protocol):
    """A method of an ExecuTorch file, loaded."""

    def __call__(self, inputs: list[torch.Tensor]) -> list[torch.Tensor]:
        """Return copies of the outputs."""


@dataclass(frozen=True, kw_only=True, slots=True, weakref_slot=True, eq=False)
class ExecuTorchSession(OnCpuAlone):
    """An ExecuTorch artifact. Not for two threads at once: its buffers are one set. Another session has its own."""

    program: object
    """What the method is of."""
    method: Method
    version: str
    provider: str = "XNNPACK"

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples, in memory of their own."""
        logits: NDArray[np.float32] = self._outputs(inputs)[0].numpy()
        return logits

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return every output for prepared samples."""
        return tuple(each.numpy() for each in self._outputs(inputs))

    def _outputs(self, inputs: NDArray[np.float32]) -> list[torch.Tensor]:
        with _out_of_memory():
            return self.method([torch.from_numpy(inputs)])


@dataclass(kw_only=True, slots=True)
class _Pool:
    """The pool of threads of this process: a file that is loaded keeps the pool that it finds."""

    threads: int = 0
    sessions: "weakref.WeakSet[ExecuTorchSession]"


_POOL = _Pool(sessions=weakref.WeakSet())


def load(path: Path, options: Options) -> ExecuTorchSession:
    """Load an ExecuTorch file. Raises RuntimeUnavailable where it or its delegate is not to be had."""
    if options.device != "cpu":
        raise RuntimeUnavailable("ExecuTorch's XNNPACK delegate runs on a CPU alone", where=path.name)
    _set_threads(path, options.threads)
    version = installed_version("executorch") or "unknown"
    if not EXTENSION._is_available(DELEGATE):  # noqa: SLF001 - all of its names begin so
        what = f"this executorch ({version}) has no XNNPACK delegate"
        raise RuntimeUnavailable(what, where=path.name, advice="the wheel from PyPI, or a build with XNNPACK")
    try:
        with _silent(), _out_of_memory():
            checked = EXTENSION.Verification.InternalConsistency
            program = EXTENSION._load_program(str(path), program_verification=checked)  # noqa: SLF001 - as above
            method = program.load_method(METHOD)
    except (RuntimeError, ValueError) as error:
        reader = Reader(title="executorch", package="executorch", version=version)
        # Older ones read what newer ones write: to be as new as the one that made a file is not what it takes.
        raise reader.cannot_load(path.name, first_line(error), made_with=None, otherwise=READERS) from None
    session = ExecuTorchSession(program=program, method=method, version=version)
    _POOL.sessions.add(session)
    return session


def profile(path: Path, options: Options, profiling: Profiling) -> tuple[OperatorTime, ...]:
    """Raise RuntimeUnavailable: to ExecuTorch all that XNNPACK computes is one operator."""
    del options, profiling
    what = "ExecuTorch has no profiler for what XNNPACK computes: to it, that is one operator"
    raise RuntimeUnavailable(what, where=path.name, advice="profile the ONNX artifact of the same network")


def _set_threads(path: Path, threads: int) -> None:
    """Give the process a pool of so many threads. Raises RuntimeUnavailable where a session still has another one."""
    if _POOL.threads == threads:
        return
    if len(_POOL.sessions):
        what = (
            f"ExecuTorch has one pool of threads in a process: {_POOL.threads} are in use, and {threads} are asked for"
        )
        raise RuntimeUnavailable(what, where=path.name, advice="the same number, or another process")
    with _silent():
        EXTENSION._unsafe_reset_threadpool(threads)  # noqa: SLF001 - unsafe while a session has the old one
    _POOL.threads = threads


@contextlib.contextmanager
def _out_of_memory() -> Iterator[None]:
    """Raise MemoryError for what ExecuTorch says by a number."""
    try:
        yield
    except RuntimeError as error:
        if NO_MEMORY.search(str(error)):
            raise MemoryError(str(error)) from None
        raise
