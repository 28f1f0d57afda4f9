"""The peak memory of the chosen artifact, as edgepack runs it, against the bare runtime: at most 15 MB more.

    python -m benchmarks.peers.memory [-o out/peers] [--families resnet18,swin_t] [--threads 2]

For families that `python -m benchmarks.peers` has measured in batch 1. Each program is a process of its own that loads
the same file and calls it for as long; the figure is its largest resident memory (VmHWM), the least of three processes.
"""

import argparse
import functools
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.peers.__main__ import case_of
from benchmarks.peers.case import BUNDLE, Case, encode
from benchmarks.peers.contenders import EDGEPACK, FAMILIES
from benchmarks.peers.conversation import ROOT
from benchmarks.peers.runtimes.edgepack_choice import REPORT, choice
from runner import bundle

MOST_MB = 15.0
CALLS, PROCESSES = 50, 3
PEAK = f"""
import re, sys
from pathlib import Path
import numpy as np
def run(call, shape):
    sample = np.zeros(shape, np.float32)
    for _ in range({CALLS}):
        call(sample)
    print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024)
"""
OURS = f"""{PEAK}
from benchmarks.peers.case import decode
from benchmarks.peers.runtimes import edgepack_choice
case = decode(sys.argv[1])
run(edgepack_choice.load(case).run, case.example_shape)
"""
BARE = {
    "onnx": f"""{PEAK}
import json
import onnxruntime
file, threads, shape, engine = json.loads(sys.argv[1])
settings = onnxruntime.SessionOptions()
settings.intra_op_num_threads = threads
session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
taken, given = session.get_inputs()[0].name, [session.get_outputs()[0].name]
run(lambda sample: session.run(given, {{taken: sample}}), shape)
""",
    "torchscript": f"""{PEAK}
import json
import torch
file, threads, shape, engine = json.loads(sys.argv[1])
torch.set_num_threads(threads)
if engine:
    torch.backends.quantized.engine = engine
network = torch.jit.load(file)
with torch.inference_mode():
    run(lambda sample: network(torch.from_numpy(sample)), shape)
""",
}
"""By the format of an artifact."""


def main() -> None:
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("out/peers"))
    parser.add_argument("--families", default=",".join(FAMILIES))
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    differences = []
    for family in chosen.families.split(","):
        own = chosen.output / family
        if not (own / "batch1" / EDGEPACK.module / REPORT).exists():
            print(f"{family}: not measured yet")
            continue
        difference = print_case(family, case_of(own, 1, chosen.threads, EDGEPACK))
        differences += [] if difference is None else [difference]
    if differences:
        verdict = "reached" if max(differences) <= MOST_MB else "missed"
        print(f"largest difference {max(differences):+.1f} MB; at most {MOST_MB:.0f} MB: {verdict}")


def print_case(family: str, case: Case) -> float | None:
    """Print one family's peaks, and return the difference in MB; None where nobody runs that format bare."""
    artifact = choice(case)
    if artifact.format not in BARE:
        print(f"{family}: {artifact.name} has no bare program here")
        return None
    ours = peak_mb(OURS, encode(case))
    with tempfile.TemporaryDirectory() as folder:
        file = bundle.open_bundle(case.subject / BUNDLE).extract(artifact.path, Path(folder))
        told = json.dumps([str(file), case.threads, case.example_shape, artifact.engine])
        bare = peak_mb(BARE[artifact.format], told)
    print(f"{family}: {artifact.name}, edgepack {ours:.1f} MB, bare {bare:.1f} MB, {ours - bare:+.1f} MB", flush=True)
    return ours - bare


@functools.cache
def peak_mb(program: str, argument: str) -> float:
    """Return the least of the peaks of some processes: what disturbs one only adds to it."""
    peaks = []
    for _ in range(PROCESSES):
        command = (sys.executable, "-c", program, argument)
        done = subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        peaks.append(int(done.stdout.split()[-1]))
    return min(peaks) / 1e6


if __name__ == "__main__":
    main()
