"""What `bench-runner` costs beside what it measures: time, CPU and memory, for few samples and for many.

    python -m benchmarks.cost [--threads 1]

Time is what a quick run takes beyond its timed windows and the runtime's own import and load. CPU is that of the parent
while a worker is timed. Memory is the largest resident size (VmHWM) of the parent, and of the worker that answers
every sample beside that of a bare ONNX Runtime loop; 50,000 samples should need no more than 2,000.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.overhead import make_job
from runner import report_reader, stats
from runner.bundle import FP32_REFERENCE, INPUTS, Bundle
from runner.device.monitor import Monitor
from runner.measure.latency import PLANS
from runner.runtimes import Options
from runner.worker.order import Job, Order, Timing, encode
from runner.workers import WORKERS
from tests import bundles, networks

SAMPLES = (2_000, 50_000)
MIB = 2**20
PEAK = """
import re, sys
from pathlib import Path
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
"""
RUNNER = f"""{PEAK}
from runner import edge
from runner.cli import bench_runner
edge.run(bench_runner, sys.argv[1:], program="bench-runner")
print(peak())
"""
WORKER = f"""{PEAK}
from runner.worker import main
main()
print(peak(), file=open(sys.argv[1], "w"))
"""
BARE = f"""{PEAK}
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
taken = session.get_inputs()[0]
for _ in range(1000):
    session.run(None, {{taken.name: np.zeros((1, *taken.shape[1:]), np.float32)}})
print(peak())
"""


def main() -> None:
    """Print the costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        file = networks.write_onnx(place / "network.onnx")
        bare = int(_output([sys.executable, "-c", BARE, str(file)]))
        print(f"bare ONNX Runtime: {bare / MIB:.1f} MiB", flush=True)
        for samples in SAMPLES:
            print(_run(place, file, samples, threads, bare), flush=True)
        print(f"Parent, while a worker is timed: {_parent_share(place, threads):.2%} of a core")


def _run(folder: Path, file: Path, samples: int, threads: int, bare: int) -> str:
    logits = networks.expected_logits(networks.inputs(samples)).astype(np.float32)
    bundle = bundles.write_bundle(
        folder / f"{samples}.edgepack",
        {"fp32.onnx": file.read_bytes()},
        (bundles.artifact(),),
        logits={FP32_REFERENCE: logits, "fp32.onnx": logits},
        labels=logits.argmax(axis=1),
    )
    written = folder / f"{samples}.json"
    command = [sys.executable, "-c", RUNNER, str(bundle.path), "-o", str(written), "--threads", str(threads)]
    began = time.monotonic()
    parent = int(_output(command).splitlines()[-1])
    took_s = time.monotonic() - began
    worker = _worker_peak(bundle, file, folder, threads)
    (artifact,) = report_reader.load(written).artifacts
    assert artifact.latency is not None
    plan, processes = PLANS["quick"], artifact.latency.processes
    given_s = sum(plan.warmup_s + plan.timed_s + (each.import_ns + each.load_ns) / 1e9 for each in processes)
    # The answers have a process of their own, which imports and loads as well.
    given_s += stats.median([(each.import_ns + each.load_ns) / 1e9 for each in processes])
    return (
        f"{samples:,} samples: {took_s - given_s:.2f} s beside windows, import and load; parent {parent / MIB:.1f}, "
        f"worker {worker / MIB:.1f} MiB, {(worker - bare) / MIB:+.1f} to the bare runtime"
    )


def _worker_peak(bundle: Bundle, file: Path, folder: Path, threads: int) -> int:
    """Return the largest resident memory of the worker that answers every sample."""
    job = Job(
        file=file,
        format="onnx",
        options=Options(threads=threads),
        inputs=bundle.locate(INPUTS),
        preprocess=bundle.manifest.preprocess,
    )
    order, told = Order(job=job, timing=None, output=folder / "logits.npy", parent=os.getpid()), folder / "peak"
    command = [sys.executable, "-c", WORKER, str(told)]
    subprocess.run(command, input=encode(order), check=True, capture_output=True, text=True)
    return int(told.read_text(encoding="ascii"))


def _parent_share(folder: Path, threads: int) -> float:
    job = make_job(networks.write_onnx(folder / "again.onnx", shape=(1, 28, 28), classes=10), folder, threads)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    with Monitor():
        WORKERS.time(job, Timing(warmup_s=1.0, timed_s=9.0, seed=0))
    after = resource.getrusage(resource.RUSAGE_SELF)
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used_s / (time.monotonic() - began)


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
