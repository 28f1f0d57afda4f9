"""LiteRT artifacts (`.tflite`), run by XNNPACK within LiteRT's interpreter: a runtime of 14 MB, without torch."""

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from runner.descriptors import STDERR, nowhere
from runner.errors import RuntimeUnavailable, first_line
from runner.operators import OperatorTime
from runner.runtimes import OnCpuAlone, Options, Profiling
from runner.runtimes.reader import Reader

PACKAGE = "ai-edge-litert"
DELEGATE = "DELEGATE"
"""What the interpreter calls each part of a graph that XNNPACK has taken over."""
WITHOUT_XNNPACK = "LiteRT's own kernels"


@dataclass(kw_only=True, slots=True)
class LiteRtSession(OnCpuAlone):
    """A LiteRT artifact in an interpreter, which is laid out for one number of samples at a time."""

    interpreter: Interpreter
    taken: int
    """Which tensor is the input."""
    given: int
    """Which tensor is the output."""
    batch: int
    """How many samples it is laid out for."""
    shape: tuple[int, ...]
    """Of one sample."""
    provider: str
    version: str

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples: a copy, which the next call leaves alone."""
        if len(inputs) != self.batch:
            self._lay_out(len(inputs))
        self.interpreter.set_tensor(self.taken, inputs)
        self.interpreter.invoke()
        logits: NDArray[np.float32] = self.interpreter.get_tensor(self.given)
        return logits

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return every output for prepared samples."""
        logits = self.run(inputs)
        further = self.interpreter.get_output_details()[1:]
        return (logits, *(np.asarray(self.interpreter.get_tensor(each["index"])) for each in further))

    def _lay_out(self, batch: int) -> None:
        """Make room for another number of samples; one that fails leaves it as good as unloaded."""
        self.batch = 0
        self.interpreter.resize_tensor_input(self.taken, (batch, *self.shape))
        self.interpreter.allocate_tensors()
        self.batch = batch


def load(path: Path, options: Options) -> LiteRtSession:
    """Load a `.tflite` file. Raises RuntimeUnavailable where it, or the device asked for, is not to be had."""
    if options.device != "cpu":
        raise RuntimeUnavailable("LiteRT runs on the CPU here", where=path.name, advice="an ONNX artifact for a GPU")
    reader = Reader(title="LiteRT", package=PACKAGE, version=metadata.version(PACKAGE))
    try:
        # By its path, so that the weights are mapped and not read. XNNPACK is what it takes if nothing else is said.
        # Nothing in Python can turn off the line that a delegate was created.
        with nowhere(STDERR):
            interpreter = Interpreter(model_path=str(path), num_threads=options.threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise reader.cannot_load(path.name, first_line(error), made_with=options.made_with) from None
    taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    if {taken["dtype"], given["dtype"]} != {np.float32}:
        raise RuntimeUnavailable(
            f"takes {taken['dtype'].__name__} and returns {given['dtype'].__name__}, and the runner gives and takes "
            "float32",
            where=path.name,
            advice="an artifact with a float32 face: pack it again",
        )
    batch, *shape = (int(size) for size in taken["shape"])
    return LiteRtSession(
        interpreter=interpreter,
        taken=taken["index"],
        given=given["index"],
        batch=batch,
        shape=tuple(shape),
        provider="XNNPACK" if _is_delegated(interpreter) else WITHOUT_XNNPACK,
        version=reader.version,
    )


def profile(path: Path, options: Options, profiling: Profiling) -> tuple[OperatorTime, ...]:
    """Raise RuntimeUnavailable: LiteRT times its operators for programs in C++ alone."""
    raise RuntimeUnavailable("LiteRT shows no times of single operators in Python", where=path.name)


def _is_delegated(interpreter: Interpreter) -> bool:
    # The interpreter tells it nowhere else.
    return any(each["op_name"] == DELEGATE for each in interpreter._get_ops_details())  # noqa: SLF001
