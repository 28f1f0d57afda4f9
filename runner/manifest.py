"""What a bundle says of itself: the target it is for, how its inputs are prepared, and what is in it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

SCHEMA = "1.2"

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-weights", "int4-weights"]
INTEGERS: frozenset[Precision] = frozenset({"int8", "int8-weights", "int4-weights"})
Format = Literal["onnx", "torchscript", "openvino", "executorch", "litert", "aotinductor"]
"""What an artifact's file is, each for one runtime."""
Style = Literal["", "qoperator", "mixed", "onednn", "optimised"]
"""Another way to make the same precision and format; empty is the usual one."""
Machine = Literal["x86_64", "aarch64"]
Device = Literal["cpu", "cuda"]
Engine = Literal["x86", "onednn", "fbgemm", "qnnpack"]
IntegerType = Literal["int8", "uint8"]
Affinity = Literal["physical-cores"]
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
"""Plain data that a document carries for somebody else, unread. Here and not in the codec: workers import no cattrs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One kind of artifact that a target asks for."""

    precision: Precision
    format: Format
    style: Style = ""

    @property
    def name(self) -> str:
        """The artifact's name within a bundle, such as `int8.onnx` or `int8-qoperator.onnx`."""
        return f"{self.precision}{f'-{self.style}' if self.style else ''}.{self.format}"


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionSettings:
    """How runtimes wait and work on a kind of machine."""

    spinning: bool | None = None
    """Whether threads wait busily for work, faster where nothing else runs; absent is as the runtime has it."""
    affinity: Affinity | None = None
    """Where ONNX Runtime's own threads stay: each on a physical core of its own, as the device has them. For programs
    that have these cores to themselves; absent is where the system puts them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A kind of machine, as its TOML file describes it."""

    name: str
    description: str
    machine: Machine
    """What `uname -m` says there."""
    device: Device = "cpu"
    """What the artifacts run on."""
    engine: Engine | None = None
    """The quantization engine of TorchScript int8 artifacts; absent where the target has none of these."""
    activation_type: IntegerType = "uint8"
    """The integer type of activations in ONNX int8 artifacts."""
    weight_type: IntegerType = "int8"
    """The integer type of weights in ONNX int8 artifacts."""
    per_channel: bool = True
    """Whether weights have one scale per output channel, or one per tensor."""
    reduce_range: bool = False
    """Take one bit less for weights in ONNX int8 artifacts: x86 CPUs without VNNI add two products in 16 bits, which
    saturates with all eight."""
    session: SessionSettings = SessionSettings()
    artifacts: tuple[Candidate, ...]
    """What is made for it where nothing else is asked for: `--candidates quick`."""
    more: tuple[Candidate, ...] = ()
    """What may turn out to be faster there, and takes longer to make: `--candidates all` has both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preprocess:
    """How a stored sample becomes what the network sees. The one place where this is done, on host and device."""

    channels: int
    height: int
    width: int
    scale: float
    """Stored values are multiplied by this first: 1/255 for images."""
    mean: tuple[float, ...]
    """Per channel, subtracted after scaling."""
    std: tuple[float, ...]
    """Per channel, divided by last."""
    resize: str
    """How the images were brought to `height` x `width` before they were stored, in words."""

    def apply(self, samples: "NDArray[np.generic]") -> "NDArray[np.float32]":
        """Return stored samples, N x C x H x W, as the contiguous float32 array that the network takes."""
        return self.ready()(samples)

    def ready(self) -> "Callable[[NDArray[np.generic]], NDArray[np.float32]]":
        """Return what `apply` does, for many calls: what does not depend on the samples is done once."""
        import numpy as np  # noqa: PLC0415 - what a machine is can be told where there is no numpy

        scale = np.float32(self.scale)
        mean = np.asarray(self.mean, np.float32).reshape(-1, 1, 1)
        std = np.asarray(self.std, np.float32).reshape(-1, 1, 1)

        def prepare(samples: "NDArray[np.generic]") -> "NDArray[np.float32]":
            # Three roundings in a fixed order, never a fused multiply-add: the same bits on every machine.
            prepared: NDArray[np.float32] = np.multiply(
                samples, scale, dtype=np.float32, casting="unsafe", order="C", subok=False
            )
            prepared -= mean
            prepared /= std
            return prepared

        return prepare


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """One runnable file of a bundle."""

    name: str
    title: str = ""
    """What tables call it, where that is not its name."""
    path: str
    """Its entry in the bundle."""
    precision: Precision
    format: Format
    device: Device = "cpu"
    machines: tuple[Machine, ...] = ()
    """Where it can run; empty means anywhere that its runtime does."""
    engine: Engine | None = None
    """The quantization engine, which TorchScript files do not store and the runner sets from here."""
    instructions: tuple[str, ...] = ()
    """The instruction sets of the CPU that native code was made for: where one is missing, it cannot run."""
    opset: int | None = None
    dynamic_batch: bool = True
    """Whether it takes any number of samples at once, or one."""
    made_with: dict[str, str]
    """Versions of the packages that made it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """An artifact that was asked for, and why it is not there."""

    name: str
    what: str
    advice: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One file of the bundle, as it must be found."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """Where the bundle comes from. Holds no time, so that packing again gives the same bytes."""

    edgepack: str
    git_commit: str | None
    """The commit of the tool, where it runs from a checkout."""
    git_dirty: bool | None
    python: str
    platform: str
    versions: dict[str, str]
    seed: int
    data_sha256: str
    """Of the training, validation and evaluation samples and their labels."""
    recipe: dict[str, Json]
    """The recipe as resolved, which `pack --recipe` takes again. The runner does not look inside."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """The bundle's table of contents."""

    schema: str = SCHEMA
    name: str
    target: Target
    preprocess: Preprocess
    classes: tuple[str, ...]
    samples: int
    """How many samples the evaluation set has."""
    artifacts: tuple[Artifact, ...]
    left_out: tuple[LeftOut, ...] = ()
    provenance: Provenance
    entries: tuple[Entry, ...]
    """Every file of the bundle but the manifest and the host report."""

    def artifact(self, name: str) -> Artifact | None:
        """Return the artifact of that name, if there is one."""
        return next((artifact for artifact in self.artifacts if artifact.name == name), None)
