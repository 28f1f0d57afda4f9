"""What executes an artifact. Each runtime is one module of this folder, imported only when an artifact needs it."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from runner.manifest import Device, Engine, Format
from runner.operators import OperatorTime

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Options:
    """How a runtime shall run an artifact."""

    threads: int
    device: Device = "cpu"
    engine: Engine | None = None
    """The quantization engine that a TorchScript int8 artifact was made for."""
    made_with: str | None = None
    """The version of the runtime that was there when the artifact was made; None where that is not known."""
    exact_int8: bool = False
    """Take no int8 instruction that saturates, where the runtime leaves a choice: answers before speed."""
    spinning: bool | None = None
    """Whether threads wait busily for work, where the runtime leaves a choice; None is as the runtime has it."""
    affinity: tuple[int, ...] = ()
    """The CPU of each thread but the calling one, where the runtime leaves a choice; none leaves it to the system."""
    as_stored: bool = False
    """Run the very operators of the file, and not what the runtime makes of them for speed: for probes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profiling:
    """What a profiler sees of an artifact."""

    inputs: "Sequence[NDArray[np.float32]]"
    """One after the other."""
    warmups: int
    """How many of them, from the first, do not count."""
    folder: Path
    """For files that the caller removes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where the nodes of an artifact run, as a runtime has placed them."""

    nodes: int
    elsewhere: tuple[str, ...]
    """The operators of those that do not run on the device that was asked for, one for each node."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceMemory:
    """The most that a runtime has taken of an accelerator's memory so far, by its own count."""

    allocated_bytes: int
    """By tensors."""
    reserved_bytes: int
    """What it holds, for them or for later."""


class Session(Protocol):
    """An artifact, loaded and ready."""

    @property
    def provider(self) -> str:
        """What does the arithmetic."""

    @property
    def version(self) -> str:
        """The runtime's version."""

    @property
    def thread_safe(self) -> bool:
        """Whether several threads may call `run` at once, each with an answer of its own."""

    def run(self, inputs: "NDArray[np.float32]") -> "NDArray[np.float32]":
        """Return the logits, N x classes, of prepared samples, N x C x H x W."""

    def tensors(self, inputs: "NDArray[np.float32]") -> "tuple[NDArray[np.generic], ...]":
        """Return all that a file with further outputs makes of prepared samples, in its order: the logits first."""

    def device_ns(self, inputs: "NDArray[np.float32]") -> int | None:
        """Run once more, and return the time by the accelerator's own events; None where there are none."""

    def placement(self) -> Placement | None:
        """Return where the nodes run; None on a CPU, and where the runtime does not tell."""

    def device_memory(self) -> DeviceMemory | None:
        """Return what was taken of the accelerator's memory; None on a CPU, and where the runtime does not tell."""


class OnCpuAlone:
    """What sessions share whose runtime knows no accelerator, and has one place for a sample and its answer."""

    __slots__ = ()

    @property
    def thread_safe(self) -> bool:
        """Return False: of two calls at once, each might get the answer of the other."""
        return False

    def device_ns(self, inputs: "NDArray[np.float32]") -> int | None:
        """Return None: there are no events on a CPU."""
        return None

    def placement(self) -> Placement | None:
        """Return None: all of it is on the CPU."""
        return None

    def device_memory(self) -> DeviceMemory | None:
        """Return None: there is no accelerator."""
        return None


class Runtime(Protocol):
    """What each module of this folder offers."""

    def load(self, path: Path, options: Options) -> Session:
        """Load an artifact. Raises RuntimeUnavailable."""

    def profile(self, path: Path, options: Options, profiling: Profiling) -> Sequence[OperatorTime]:
        """Run an artifact, and return the time of each of its operators. Raises RuntimeUnavailable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A runtime that artifacts of one format can be run by."""

    module: str
    """Of this folder."""
    package: str
    """What is imported."""
    distributions: tuple[str, ...]
    """What `pip` may have installed the package from; the first is the usual one."""
    needs: tuple[str, ...] = ()
    """Packages without which it cannot be imported, and which it does not bring along."""


KNOWN: Mapping[Format, Known] = MappingProxyType(
    {
        "onnx": Known(
            module="runner.runtimes.onnx",
            package="onnxruntime",
            distributions=("onnxruntime", "onnxruntime-gpu"),
        ),
        "torchscript": Known(
            module="runner.runtimes.torchscript",
            package="torch",
            distributions=("torch",),
        ),
        "litert": Known(
            module="runner.runtimes.litert",
            package="ai_edge_litert",
            distributions=("ai-edge-litert",),
        ),
        "openvino": Known(
            module="runner.runtimes.openvino",
            package="openvino",
            distributions=("openvino",),
        ),
        "executorch": Known(
            module="runner.runtimes.executorch",
            package="executorch",
            distributions=("executorch",),
            needs=("torch",),
        ),
        "aotinductor": Known(module="runner.runtimes.aotinductor", package="torch", distributions=("torch",)),
    }
)


def load_runtime(name: Format) -> Runtime:
    """Import the module that runs artifacts of a format. Raises ImportError where its package is not installed."""
    return cast("Runtime", importlib.import_module(KNOWN[name].module))


def missing(name: Format) -> tuple[str, ...]:
    """Return the packages that a format's runtime needs and that are not installed, without importing any."""
    known = KNOWN[name]
    return tuple(each for each in (known.package, *known.needs) if importlib.util.find_spec(each) is None)


def installed_version(name: Format) -> str | None:
    """Return the version of a format's runtime without importing it, or None where it is not installed."""
    from importlib import metadata  # noqa: PLC0415 - a quarter of a worker's start, and no worker asks

    known = KNOWN[name]
    if missing(name):
        return None
    for distribution in known.distributions:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown"
