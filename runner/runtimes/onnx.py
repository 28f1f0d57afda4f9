"""ONNX artifacts, run by ONNX Runtime."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as failures

from runner.errors import RuntimeUnavailable
from runner.manifest import Device
from runner.runtimes import Options

PROVIDERS: dict[Device, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
UNREADABLE = (
    failures.Fail,
    failures.InvalidArgument,
    failures.InvalidGraph,
    failures.InvalidProtobuf,
    failures.NoSuchFile,
    failures.NotImplemented,
    failures.RuntimeException,
)
ONLY_ERRORS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class OnnxSession:
    """An ONNX artifact in a session of ONNX Runtime."""

    session: onnxruntime.InferenceSession
    input_name: str
    output_names: list[str]
    provider: str
    version: str

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples."""
        logits: NDArray[np.float32] = self.session.run(self.output_names, {self.input_name: inputs})[0]
        return logits

    def device_ns(self, inputs: NDArray[np.float32]) -> int | None:
        """Return None: ONNX Runtime shows no events."""
        return None


def load(path: Path, options: Options) -> OnnxSession:
    """Load an ONNX file. Raises RuntimeUnavailable where it, or the device asked for, is not to be had."""
    provider = PROVIDERS[options.device]
    if provider not in onnxruntime.get_available_providers():
        raise _no_provider(provider)
    try:
        session = onnxruntime.InferenceSession(path, _session_options(options), providers=[provider])
    except UNREADABLE as error:
        raise RuntimeUnavailable(
            f"ONNX Runtime {onnxruntime.__version__} cannot load it: {_first_line(error)}",
            where=path.name,
            advice="a newer onnxruntime, or pack with a lower opset",
        ) from None
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
    if options.exact_int8:
        settings.add_session_config_entry("session.x64quantprecision", "1")
    return settings


def _no_provider(provider: str) -> RuntimeUnavailable:
    return RuntimeUnavailable(
        f"this ONNX Runtime ({onnxruntime.__version__}) has no working {provider}",
        advice="pip install onnxruntime-gpu, and see that CUDA and cuDNN can be found",
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
