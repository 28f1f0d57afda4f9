"""ONNX artifacts, run by ONNX Runtime."""

import json
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from runner.errors import RuntimeUnavailable, said
from runner.manifest import Device
from runner.operators import OperatorTime, Span, operator_times
from runner.runtimes import DeviceMemory, Options, Placement, Profiling
from runner.runtimes.reader import Reader

# Otherwise it talks to its maker while it is measured, from boards too (since 1.31 on Linux).
onnxruntime.disable_telemetry_events()

PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
PROVIDER_OPTIONS: dict[Device, dict[str, str]] = {
    "cpu": {},
    # The first of those that CUDA shows. fp32 is fp32: by default it is rounded to the 10 bits of TF32 before products.
    "cuda": {"device_id": "0", "use_tf32": "0"},
}
RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"
"""Since ONNX Runtime 1.24; older ones pass it over."""
UNREADABLE = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
    failures.RuntimeException,
)
NO_MEMORY = "bad_alloc"
"""What it says of a file that may well be whole."""
ONLY_ERRORS = 3
KERNEL = "_kernel_time"
"""How the name of an event ends that is the execution of a node."""
READER = Reader(title="ONNX Runtime", package="onnxruntime", version=onnxruntime.__version__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stamp:
    """A version that every ONNX file has, and that ONNX Runtime has to know."""

    name: str
    told: re.Pattern[str]
    """How ONNX Runtime says which one a file has, and up to which one it reads."""
    since: Mapping[int, str]
    """The first ONNX Runtime that reads each, as releases 1.16 to 1.31 did when they were given such files; all that
    has wheels for Python 3.11 reads older ones."""


STAMPS = (
    Stamp(
        name="IR version",
        told=re.compile(r"model IR version: (\d+), max supported IR version: (\d+)"),
        since={10: "1.18", 11: "1.23", 12: "1.24", 13: "1.24"},
    ),
    Stamp(
        name="opset",
        told=re.compile(r"Opset (\d+) is under development.* for domain ai\.onnx is till opset (\d+)", re.DOTALL),
        since={20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23", 24: "1.24", 25: "1.24", 26: "1.25"},
    ),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What ONNX Runtime notes in its profile, as far as it is of use. Its times are whole microseconds."""

    name: str
    op_type: str | None
    began_us: int
    duration_us: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxSession:
    """An ONNX artifact in a session of ONNX Runtime."""

    session: onnxruntime.InferenceSession
    input_name: str
    output_names: list[str]
    provider: str
    version: str

    @property
    def thread_safe(self) -> bool:
        """Return True: ONNX Runtime's sessions may be run by many threads at once, which the C API promises."""
        return True

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples; on CUDA the copies there and back are part of it.

        The answers come back in the CPU's memory, which waits for the GPU: what is timed from outside is all of it.
        """
        logits: NDArray[np.float32] = self.session.run(self.output_names, {self.input_name: inputs})[0]
        return logits

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return every output for prepared samples."""
        return tuple(np.asarray(value) for value in self.session.run(None, {self.input_name: inputs}))

    def device_ns(self, inputs: NDArray[np.float32]) -> int | None:
        """Return None: ONNX Runtime shows no events."""
        return None

    def placement(self) -> Placement | None:
        """Return which nodes the provider has left to the CPU, where another device was asked for."""
        if self.provider == PROVIDERS["cpu"] or not hasattr(self.session, "get_provider_graph_assignment_info"):
            return None
        parts = self.session.get_provider_graph_assignment_info()
        placed = [(part.ep_name, node.op_type) for part in parts for node in part.get_nodes()]
        return Placement(
            nodes=len(placed), elsewhere=tuple(operator for where, operator in placed if where != self.provider)
        )

    def device_memory(self) -> DeviceMemory | None:
        """Return None: ONNX Runtime does not tell what its arena holds."""
        return None


def load(path: Path, options: Options) -> OnnxSession:
    """Load an ONNX file. Raises RuntimeUnavailable where it, or the device asked for, is not to be had."""
    return _load(path, options, _session_options(options))


def profile(path: Path, options: Options, profiling: Profiling) -> tuple[OperatorTime, ...]:
    """Run an ONNX file, and return the time of each of its nodes after ONNX Runtime's own optimisation.

    Raises RuntimeUnavailable where it cannot be loaded, and for a GPU.
    """
    if options.device != "cpu":
        raise RuntimeUnavailable("ONNX Runtime's profile has the time of starting kernels on a GPU, and not their own")
    settings = _session_options(options)
    settings.enable_profiling = True
    settings.profile_file_prefix = str(profiling.folder / "profile")
    loaded = _load(path, options, settings)
    for inputs in profiling.inputs:
        loaded.run(inputs)
    events = _events(Path(loaded.session.end_profiling()))
    runs = sorted(event.began_us for event in events if event.name == "model_run")[profiling.warmups :]
    if not runs:
        raise RuntimeUnavailable("ONNX Runtime's profile holds none of the inferences", where=path.name)
    spans = (
        Span(
            name=event.name.removesuffix(KERNEL),
            op_type=event.op_type,
            inference=bisect_right(runs, event.began_us) - 1,
            duration_ns=1000.0 * event.duration_us,
        )
        for event in events
        if event.op_type is not None and event.name.endswith(KERNEL) and event.began_us >= runs[0]
    )
    return operator_times(spans, len(runs))


def _events(path: Path) -> list[Event]:
    """Read a profile."""
    # Of each event a few keys are kept as it is read: all of them take many times as much memory.
    found = json.loads(path.read_bytes(), object_hook=_event)
    return [event for event in found if isinstance(event, Event)]


def _event(found: dict[str, object]) -> object:
    """Return an event, or of its arguments the operator's type."""
    if "dur" not in found:
        return found.get("op_name")
    name, args, began, duration = (found.get(key) for key in ("name", "args", "ts", "dur"))
    return Event(
        name=str(name),
        op_type=args if isinstance(args, str) else None,
        began_us=began if isinstance(began, int) else 0,
        duration_us=duration if isinstance(duration, int) else 0,
    )


def _load(path: Path, options: Options, settings: onnxruntime.SessionOptions) -> OnnxSession:
    provider = PROVIDERS[options.device]
    if provider not in onnxruntime.get_available_providers():
        raise _no_provider(provider)
    if options.device == "cuda" and hasattr(onnxruntime, "preload_dlls"):
        # CUDA and cuDNN may come from wheels of their own, where no loader looks by itself.
        onnxruntime.preload_dlls()
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=[(provider, PROVIDER_OPTIONS[options.device])])
    except UNREADABLE as error:
        if NO_MEMORY in str(error):
            raise MemoryError(said(error)) from None
        raise _unreadable(path, error, options) from None
    # ONNX Runtime falls back to the CPU in silence when CUDA's libraries are missing: this would be another device.
    if session.get_providers()[0] != provider:
        raise _no_provider(provider)
    taken, given = session.get_inputs()[0], session.get_outputs()[0]
    if {taken.type, given.type} != {"tensor(float)"}:
        raise RuntimeUnavailable(
            f"takes {taken.type} and returns {given.type}, and the runner gives and takes tensor(float)",
            where=path.name,
            advice="casts inside the artifact: pack it again",
        )
    return OnnxSession(
        session=session,
        input_name=taken.name,
        output_names=[given.name],
        provider=provider,
        version=onnxruntime.__version__,
    )


def _session_options(options: Options) -> onnxruntime.SessionOptions:
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = ONLY_ERRORS
    if options.device != "cpu":
        settings.add_session_config_entry(RECORD_PLACEMENT, "1")
    if options.spinning is not None:
        settings.add_session_config_entry("session.intra_op.allow_spinning", str(int(options.spinning)))
    if options.affinity:
        # It counts processors from one.
        processors = ";".join(str(cpu + 1) for cpu in options.affinity)
        settings.add_session_config_entry("session.intra_op_thread_affinities", processors)
    if options.exact_int8:
        settings.add_session_config_entry("session.x64quantprecision", "1")
    return settings


def _unreadable(path: Path, error: Exception, options: Options) -> RuntimeUnavailable:
    for stamp in STAMPS:
        if told := stamp.told.search(str(error)):
            has, reads = map(int, told.groups())
            return READER.cannot_load(
                path.name,
                f"it has {stamp.name} {has}, and this one reads up to {reads}",
                made_with=options.made_with,
                least=stamp.since.get(has),
                otherwise=f"onnxruntime newer than {READER.version}, or pack with a lower opset",
            )
    return READER.cannot_load(path.name, said(error), made_with=options.made_with)


def _no_provider(provider: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"this ONNX Runtime ({onnxruntime.__version__}) has no working {provider}",
        advice="pip install onnxruntime-gpu, and see that CUDA and cuDNN can be found",
    )
