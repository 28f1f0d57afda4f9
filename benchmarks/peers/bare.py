"""Each runtime by itself, in the few lines that its documentation has: what edgepack's memory is held against.

A program here is run as `python -c PROGRAM '[file, threads, shape, engine]'`, and prints the peak of its memory.
"""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from runner import openvino_file
from runner.bundle import Bundle
from runner.manifest import Artifact, Format

CALLS = 50
PEAK = f"""
import json, re, sys
from pathlib import Path
import numpy as np
def run(call, shape):
    sample = np.full(shape, 0.5, np.float32)  # zeros that nobody has written take no memory
    for _ in range({CALLS}):
        call(sample)
    print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""
BARE = f"""{PEAK}
file, threads, shape, engine = json.loads(sys.argv[1])
"""
PROGRAMS: Mapping[Format, str] = MappingProxyType(
    {
        "onnx": f"""{BARE}
import onnxruntime
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
taken, given = session.get_inputs()[0].name, [session.get_outputs()[0].name]
run(lambda sample: session.run(given, {{taken: sample}}), shape)
""",
        "torchscript": f"""{BARE}
import torch
torch.set_num_threads(threads)
if engine:
    torch.backends.quantized.engine = engine
network = torch.jit.load(file)
with torch.inference_mode():
    run(lambda sample: network(torch.from_numpy(sample)), shape)
""",
        "openvino": f"""{BARE}
import openvino
core = openvino.Core()
network = core.read_model(file)
network.reshape(shape)
compiled = core.compile_model(network, "CPU", {{"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}})
run(compiled, shape)
""",
        "executorch": f"""{BARE}
import torch
from executorch.runtime import Runtime
program = Runtime.get().load_program(file)
method = program.load_method("forward")
run(lambda sample: method.execute([torch.from_numpy(sample)]), shape)
""",
        "litert": f"""{BARE}
from ai_edge_litert.interpreter import Interpreter
network = Interpreter(model_path=file, num_threads=threads)
network.allocate_tensors()
taken, given = network.get_input_details()[0]["index"], network.get_output_details()[0]["index"]
def call(sample):
    network.set_tensor(taken, sample)
    network.invoke()
    return network.get_tensor(given)
run(call, shape)
""",
    }
)
"""By the format of an artifact, which is on the CPU."""


def missing(artifact: Artifact) -> str:
    """Return why there is no bare program for an artifact, or nothing where there is one."""
    if artifact.device != "cpu":
        return f"runs on {artifact.device}, and the bare programs on the CPU"
    return "" if artifact.format in PROGRAMS else f"there is no bare program of {artifact.format}"


@contextmanager
def extracted(bundle: Bundle, artifact: Artifact) -> Iterator[Path]:
    """Write the file that the runtime itself reads, for as long as it is needed: of OpenVINO a graph beside weights."""
    with tempfile.TemporaryDirectory() as folder:
        file = bundle.extract(artifact.path, Path(folder))
        if artifact.format != "openvino":
            yield file
            return
        parts, graph = openvino_file.read(file), Path(folder, "model.xml")
        graph.write_bytes(parts.graph)
        graph.with_suffix(".bin").write_bytes(parts.weights.tobytes())
        yield graph
