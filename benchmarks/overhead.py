"""What the harness costs: the median that our worker reports, over that of a bare loop around `session.run`.

    python -m benchmarks.overhead [FILE.onnx] [--rounds 10] [--seconds 2] [--threads 1]

Both run in processes of their own, in turn, on the same samples. The ratio should be within 2 % of 1.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from runner import stats
from runner.arrays import ArrayLocation
from runner.manifest import Preprocess
from runner.runtimes import Options
from runner.worker.order import Job, Timing
from runner.worker.samples import rotation
from runner.workers import WORKERS
from tests.networks import write_onnx

SHAPE = (1, 28, 28)
SAMPLES = 256


def main() -> None:
    """Print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = chosen.file or write_onnx(Path(folder) / "network.onnx", shape=SHAPE, classes=10)
        job = make_job(file, Path(folder), chosen.threads)
        ours: list[float] = []
        bare: list[float] = []
        for turn in range(chosen.rounds):
            measures = [(ours, worker_median_ns), (bare, bare_median_ns)]
            for medians, measure in measures if turn % 2 else reversed(measures):
                medians.append(measure(job, chosen.seconds))
            print(f"round {turn + 1}: worker {ours[-1] / 1e3:.2f} us, bare loop {bare[-1] / 1e3:.2f} us", flush=True)
    ratio, interval = stats.hodges_lehmann_ratio(bare, ours)
    print(f"worker / bare loop: {ratio:.4f}", f"(99 %: {interval.low:.4f} to {interval.high:.4f})" if interval else "")


def make_job(file: Path, folder: Path, threads: int) -> Job:
    """Return a job on random samples of the shape that the file takes."""
    import onnxruntime  # noqa: PLC0415 - only to ask the file

    shape = onnxruntime.InferenceSession(file).get_inputs()[0].shape[1:]
    samples = np.random.default_rng(0).integers(0, 256, (SAMPLES, *shape), dtype=np.uint8)
    path = folder / "inputs.bin"
    samples.tofile(path)
    channels, height, width = shape
    return Job(
        file=file.absolute(),
        format="onnx",
        options=Options(threads=threads),
        inputs=ArrayLocation(path=path, offset=0, shape=samples.shape, dtype="|u1"),
        preprocess=Preprocess(
            channels=channels,
            height=height,
            width=width,
            scale=1 / 255,
            mean=(0.5,) * channels,
            std=(0.25,) * channels,
            resize="none",
        ),
    )


def worker_median_ns(job: Job, seconds: float) -> float:
    """Return the median of one of our worker processes."""
    timed = WORKERS.time(job, Timing(warmup_s=seconds / 2, timed_s=seconds, seed=0))
    return stats.median(timed.process.samples_ns)


def bare_median_ns(job: Job, seconds: float) -> float:
    """Return the median of a process that does nothing else."""
    path = job.inputs.path.with_name("prepared.npy")
    np.save(path, job.preprocess.apply(job.inputs.open()[rotation(job, 0)]))
    told = json.dumps([str(job.file), str(path), job.options.threads, seconds])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.overhead", "--bare", told], check=True, capture_output=True
    )
    return float(done.stdout)


def bare_loop(file: str, inputs: str, threads: int, seconds: float) -> float:
    """Time a session as anybody would who has no harness."""
    import onnxruntime  # noqa: PLC0415 - not in the process that starts the others

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, settings, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    # Named, for `None` makes ONNX Runtime collect the names in every call: its cost, not the network's.
    names = [session.get_outputs()[0].name]
    batches = [sample[None] for sample in np.load(inputs)]
    samples: list[int] = []
    end = time.perf_counter() + seconds / 2
    for timed in (False, True):
        for batch in itertools.cycle(batches):
            began = time.perf_counter_ns()
            session.run(names, {name: batch})
            samples.append(time.perf_counter_ns() - began)
            if time.perf_counter() > end:
                break
        if not timed:
            samples.clear()
            end = time.perf_counter() + seconds
    return stats.median(samples)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--bare"]:
        print(bare_loop(*json.loads(sys.argv[2])))
    else:
        main()
