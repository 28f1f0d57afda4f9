"""ONNX Runtime on the exported file."""

from pathlib import Path

import onnxruntime

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Inputs, Loaded

FILE = "network.onnx"


def build(case: Case) -> None:
    """Export the network."""
    from benchmarks.peers.runtimes.onnx_file import export  # noqa: PLC0415 - PyTorch is not for those that are timed

    export(case, FILE)


def load(case: Case) -> Loaded:
    """Return a session on the file."""
    return session(case.folder / FILE, case.threads)


def session(file: Path, threads: int) -> Loaded:
    """Return a session with the settings that ONNX Runtime has by default, but for the threads."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = 3
    made = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    name, given = made.get_inputs()[0].name, [made.get_outputs()[0].name]

    def run(batch: Inputs) -> Inputs:
        logits: Inputs = made.run(given, {name: batch})[0]
        return logits

    return Loaded(version=onnxruntime.__version__, run=run)
