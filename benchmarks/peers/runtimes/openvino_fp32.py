"""OpenVINO on the module that it converts itself; its own defaults decide in what precision a CPU computes."""

from pathlib import Path

import numpy as np
import openvino

from benchmarks.peers.case import Case
from benchmarks.peers.runtimes import Inputs, Loaded

FILE = "network.xml"


def build(case: Case) -> None:
    """Convert the network."""
    # By default weights are stored in fp16: the file of fp32 shall be fp32.
    openvino.save_model(convert(case), case.folder / FILE, compress_to_fp16=False)


def convert(case: Case) -> openvino.Model:
    """Return the network as OpenVINO has it, of fixed shape."""
    from benchmarks.peers.runtimes.torch_network import example, network  # noqa: PLC0415 - heavy, and `load` needs none

    return openvino.convert_model(network(case), example_input=example(case), input=[case.example_shape])


def load(case: Case) -> Loaded:
    """Return the file, compiled for latency."""
    return compiled(case.folder / FILE, case.threads)


def compiled(file: Path, threads: int) -> Loaded:
    """Return a request that shares its memory with who asks."""
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()

    def run(batch: Inputs) -> Inputs:
        request.infer([batch], share_inputs=True, share_outputs=True)
        logits: Inputs = request.get_output_tensor().data
        return logits

    return Loaded(version=openvino.__version__.partition("-")[0], run=run, give=np.array)
