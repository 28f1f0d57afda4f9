"""OpenVINO artifacts, run by its CPU plugin."""

import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner import openvino_file
from runner.archive import MalformedError
from runner.errors import RuntimeUnavailable, first_line
from runner.openvino_file import Parts
from runner.operators import OperatorTime, Span, operator_times
from runner.runtimes import OnCpuAlone, Options, Profiling
from runner.runtimes.reader import Reader

# The package imports its converter, which no session needs: it takes more than half of the import's time and memory,
# and tells OpenVINO's maker of every import. What is None here cannot be imported, and the package goes on without it.
CONVERTER = "openvino.tools.ovc"
sys.modules.setdefault(CONVERTER, None)  # type: ignore[arg-type]  # None is what Python itself puts there
import openvino as openvino  # noqa: E402, PLC0414 - as above, and the host has it from here, without the converter

# The package's own request takes 9 microseconds more of each call, for inputs of every kind.
from openvino._pyopenvino import InferRequest  # noqa: E402 - as above

if sys.modules[CONVERTER] is None:
    del sys.modules[CONVERTER]

VERSION = openvino.get_version().partition("-")[0]
READER = Reader(title="OpenVINO", package="openvino", version=VERSION)
DEVICE = "CPU"
X86 = "x86_64"
PRECISION = "edgepack_precision"
"""The key of a network's notes under which stands in what it computes where it is not quantized: OpenVINO's name."""
MOST_SIZES = 2
"""Of batches for which a network is kept compiled: that of an evaluation, and what is left at its end."""
MICROSECOND = timedelta(microseconds=1)

Settings = Mapping[str, str | int | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenVinoSession(OnCpuAlone):
    """An OpenVINO artifact, compiled for each size of batch that it is given.

    Compiled for any size at once, MobileNetV2 takes 1.4 times as long for one image, a network of 0.2 ms 1.05.
    """

    core: openvino.Core
    model: openvino.Model
    weights: NDArray[np.uint8]
    """What OpenVINO reads in place for as long as there is a compiled network."""
    settings: Settings
    requests: dict[int, openvino.InferRequest]
    """By the size of a batch."""
    name: str
    """The file's."""
    made_with: str | None
    """As the options have it."""
    provider: str = DEVICE
    version: str = VERSION

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples, an array of their own."""
        logits: NDArray[np.float32] = self.tensors(inputs)[0].astype(np.float32, copy=False)
        return logits

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return every output for prepared samples."""
        request = self.request(len(inputs))
        # OpenVINO reads the samples where they lie, for which it wants to be allowed to write there too; it does not.
        taken = openvino.Tensor(inputs if inputs.flags.carray else np.array(inputs, order="C"), shared_memory=True)
        return tuple(InferRequest.infer(request, taken, share_outputs=False, decode_strings=False).values())

    def request(self, batch: int) -> openvino.InferRequest:
        """Return what runs batches of this size. Raises RuntimeUnavailable where it cannot be compiled."""
        if batch not in self.requests:
            while len(self.requests) >= MOST_SIZES:
                self.requests.pop(next(iter(self.requests)))
            self.requests[batch] = self._compiled(batch)
        return self.requests[batch]

    def _compiled(self, batch: int) -> openvino.InferRequest:
        try:
            shape = self.model.input().get_partial_shape()
            shape[0] = batch
            self.model.reshape(shape)
            return self.core.compile_model(self.model, DEVICE, dict(self.settings)).create_infer_request()
        except RuntimeError as error:
            raise READER.cannot_load(self.name, _said(error), made_with=self.made_with) from None


def load(path: Path, options: Options) -> OpenVinoSession:
    """Load a file, compiled for one sample at a time. Raises RuntimeUnavailable."""
    return _load(path, options, profiled=False)


def profile(path: Path, options: Options, profiling: Profiling) -> tuple[OperatorTime, ...]:
    """Run a file, and return the time of each node that is left after OpenVINO's own optimisation.

    Raises RuntimeUnavailable where it cannot be loaded.
    """
    session, spans = _load(path, options, profiled=True), list[Span]()
    for index, inputs in enumerate(profiling.inputs):
        session.run(inputs)
        if index >= profiling.warmups:
            # Of what it has fused into others, OpenVINO tells that it was not run.
            spans += [
                Span(
                    name=node.node_name,
                    op_type=node.node_type,
                    inference=index - profiling.warmups,
                    duration_ns=1000.0 * (node.real_time / MICROSECOND),
                )
                for node in session.request(len(inputs)).get_profiling_info()
                if node.status == openvino.ProfilingInfo.Status.EXECUTED
            ]
    return operator_times(spans, len(profiling.inputs) - profiling.warmups)


def _load(path: Path, options: Options, *, profiled: bool) -> OpenVinoSession:
    if options.device != "cpu":
        raise RuntimeUnavailable("OpenVINO runs artifacts for the CPU alone here", where=path.name)
    parts = _parts(path)
    core = openvino.Core()
    try:
        model = core.read_model(parts.graph, openvino.Tensor(parts.weights, shared_memory=True))
        precision = model.get_rt_info(PRECISION).astype(str) if model.has_rt_info(PRECISION) else "f32"
    except RuntimeError as error:
        raise READER.cannot_load(path.name, _said(error), made_with=options.made_with) from None
    session = OpenVinoSession(
        core=core,
        model=model,
        weights=parts.weights,
        settings=_settings(options, precision, profiled=profiled),
        requests={},
        name=path.name,
        made_with=options.made_with,
    )
    session.request(1)
    return session


def _settings(options: Options, precision: str, *, profiled: bool) -> Settings:
    """Return OpenVINO's properties: so many threads, free to move; fp32 is fp32, also where bf16 is faster."""
    settings: dict[str, str | int | bool] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": options.threads,
        "ENABLE_CPU_PINNING": False,
        "ENABLE_HYPER_THREADING": True,
        "SCHEDULING_CORE_TYPE": "ANY_CORE",
        "INFERENCE_PRECISION_HINT": precision,
        "PERF_COUNT": profiled,
    }
    if options.exact_int8 and platform.machine() == X86:
        # It rounds to integers and computes with floats, which do not saturate. A key of the CPU plugin's own.
        settings["LP_TRANSFORMS_MODE"] = "NO"
    return settings


def _parts(path: Path) -> Parts:
    try:
        return openvino_file.read(path)
    except OSError as error:
        raise RuntimeUnavailable(f"cannot be read: {error.strerror or error}", where=path.name) from None
    except MalformedError as error:
        raise RuntimeUnavailable(
            f"is no OpenVINO network, or a damaged one: {error}", where=path.name, advice="pack it again"
        ) from None


def _said(error: RuntimeError) -> str:
    """Return what OpenVINO says, without the places in its own code where it says it."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line and not re.match(r"(Exception|Check '.*' failed) (from|at) src/", line)]
    return told[0] if told else first_line(error)
