"""The program that runs one artifact in a process of its own. Its start and its memory count: it imports little.

It reads one `Order` as JSON from stdin and writes JSON lines on stdout: `{"done": n}` as samples are answered, at last
`{"result": …}` or `{"unavailable": …}`. Logits go to a file. All else that is printed goes to stderr, for runtimes
print on stdout whenever they like.
"""

import ctypes
import dataclasses
import gc
import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from runner.errors import RuntimeUnavailable
from runner.manifest import Format, Preprocess
from runner.runtimes import Options, Session, load_runtime

LEAST_WARMUPS = 10
LEAST_SAMPLES = 100
MOST_NS = 60_000_000_000
"""A phase ends after a minute, also with fewer inferences than it should have."""
MOST_ROTATED = 16
MOST_ROTATED_BYTES = 32 << 20
CHUNK_BYTES = 4 << 20
PROGRESS_NS = 200_000_000
PR_SET_PDEATHSIG = 1

Inputs = NDArray[np.float32]
Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class ArrayLocation:
    """Where the values of an array lie in a file: a bundle's entries are stored as they are, and mapped in place."""

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: str

    def open(self) -> NDArray[np.generic]:
        """Map the array into memory, read-only."""
        return np.memmap(self.path, dtype=self.dtype, mode="r", offset=self.offset, shape=self.shape)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """For how long to time, after how long a warm-up."""

    warmup_s: float
    timed_s: float
    seed: int
    """Of the choice of samples."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """An artifact, how it is run, and on what."""

    file: Path
    format: Format
    options: Options
    inputs: ArrayLocation
    preprocess: Preprocess
    batch: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What a worker is told: to answer every sample, or with a `timing` to take the time of some."""

    job: Job
    timing: Timing | None
    output: Path
    """Where the logits are written as .npy: all of them in order, or those of the batches that were timed."""
    parent: int
    """The process to die with."""


def encode(order: Order) -> str:
    """Return an order as JSON."""
    return json.dumps(dataclasses.asdict(order), default=str)


def decode(text: str) -> Order:
    """Build an order from its JSON."""
    data = json.loads(text)
    job, timing = data["job"], data["timing"]
    inputs, prepare = job["inputs"], job["preprocess"]
    return Order(
        job=Job(
            file=Path(job["file"]),
            format=job["format"],
            options=Options(**job["options"]),
            inputs=ArrayLocation(**{**inputs, "path": Path(inputs["path"]), "shape": tuple(inputs["shape"])}),
            preprocess=Preprocess(**{**prepare, "mean": tuple(prepare["mean"]), "std": tuple(prepare["std"])}),
            batch=job["batch"],
        ),
        timing=Timing(**timing) if timing else None,
        output=Path(data["output"]),
        parent=data["parent"],
    )


def main() -> None:
    """Do what stdin says."""
    order = decode(sys.stdin.read())
    _die_with(order.parent)
    with _claim_stdout() as stdout:
        try:
            result = answer(order, stdout) if order.timing is None else time_calls(order, order.timing)
        except RuntimeUnavailable as error:
            problem = {"what": error.what, "where": error.where, "advice": error.advice}
            _write_line(stdout, {"unavailable": problem})
        else:
            _write_line(stdout, {"result": result})


def answer(order: Order, stdout: TextIO) -> Mapping[str, object]:
    """Write the logits of every sample, in batches of the job's size."""
    job = order.job
    session = load_runtime(job.format).load(job.file, job.options)
    answered: list[Logits] = []
    reported_ns = 0
    for batch in _batches(job):
        answered.append(session.run(batch))
        if (now := time.perf_counter_ns()) - reported_ns > PROGRESS_NS:
            reported_ns = now
            _write_line(stdout, {"done": min(len(answered) * job.batch, job.inputs.shape[0])})
    np.save(order.output, np.concatenate(answered), allow_pickle=False)
    return {"provider": session.provider, "version": session.version}


def time_calls(order: Order, timing: Timing) -> Mapping[str, object]:
    """Take the time of every call, from the import of the runtime on; write the logits of the batches that it saw."""
    job = order.job
    began_ns = time.perf_counter_ns()
    runtime = load_runtime(job.format)
    imported_ns = time.perf_counter_ns()
    imported_bytes = _resident_bytes("VmRSS")
    loading_ns = time.perf_counter_ns()
    session = runtime.load(job.file, job.options)
    loaded_ns = time.perf_counter_ns()
    loaded_bytes = _resident_bytes("VmRSS")
    indices = rotation(job, timing.seed)
    inputs = [_prepared(job, index * job.batch, job.batch) for index in indices]
    warmup_ns, samples_ns, outputs = _warm_and_time(session, inputs, timing)
    np.save(order.output, np.stack(outputs), allow_pickle=False)
    process = {
        "import_ns": imported_ns - began_ns,
        "load_ns": loaded_ns - loading_ns,
        "first_ns": warmup_ns[0],
        "warmup_ns": warmup_ns[1:],
        "samples_ns": samples_ns,
        "imported_bytes": imported_bytes,
        "loaded_bytes": loaded_bytes,
        "peak_bytes": _resident_bytes("VmHWM"),
    }
    return {"provider": session.provider, "version": session.version, "batches": indices, "process": process}


def rotation(job: Job, seed: int) -> list[int]:
    """Return which whole batches of the evaluation set are timed, in turn: a seeded choice, as many as memory bears."""
    whole = job.inputs.shape[0] // job.batch
    batch_bytes = 4 * job.batch * int(np.prod(job.inputs.shape[1:]))
    count = min(whole, MOST_ROTATED, max(1, MOST_ROTATED_BYTES // batch_bytes))
    return random.Random(seed).sample(range(whole), count)  # noqa: S311 - a choice of samples, no secret


def _warm_and_time(session: Session, inputs: list[Inputs], timing: Timing) -> tuple[list[int], list[int], list[Logits]]:
    # No collection in the middle of a call, and none of what stands now in those that a runtime may ask for.
    gc.collect()
    gc.freeze()
    gc.disable()
    first_ns, _ = _time_loop(session.run, inputs, 0.0, 1)
    warmup_ns, _ = _time_loop(session.run, inputs, timing.warmup_s, LEAST_WARMUPS)
    samples_ns, outputs = _time_loop(session.run, inputs, timing.timed_s, max(LEAST_SAMPLES, len(inputs)))
    return first_ns + warmup_ns, samples_ns, outputs


def _time_loop(
    run: Callable[[Inputs], Logits], inputs: list[Inputs], seconds: float, least: int
) -> tuple[list[int], list[Logits]]:
    """Return the latency of every call, in order, and the last answer to each input that was reached."""
    clock = time.perf_counter_ns
    samples: list[int] = []
    outputs: dict[int, Logits] = {}
    count = len(inputs)
    index = 0
    start = clock()
    end = start + round(seconds * 1e9)
    last = max(end, start + MOST_NS)
    while True:
        batch = inputs[index]
        began = clock()
        output = run(batch)
        ended = clock()
        samples.append(ended - began)
        outputs[index] = output
        index = (index + 1) % count
        if ended >= end and (len(samples) >= least or ended >= last):
            return samples, [outputs[index] for index in range(len(outputs))]


def _batches(job: Job) -> Iterator[Inputs]:
    """Yield the prepared samples, batch by batch; what is held at once does not grow with their number."""
    total = job.inputs.shape[0]
    sample_bytes = 4 * int(np.prod(job.inputs.shape[1:]))
    chunk = job.batch * max(1, CHUNK_BYTES // (sample_bytes * job.batch))
    for start in range(0, total, chunk):
        prepared = _prepared(job, start, chunk)
        for offset in range(0, len(prepared), job.batch):
            yield prepared[offset : offset + job.batch]


def _prepared(job: Job, start: int, count: int) -> Inputs:
    # Mapped anew each time: pages of an old map would stay resident.
    return job.preprocess.apply(job.inputs.open()[start : start + count])


def _resident_bytes(key: str) -> int | None:
    """Return VmRSS or VmHWM of this process. Not ru_maxrss: in a child it starts at its parent's value."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(f"{key}:")), None)
    return int(found[1]) * 1024 if found else None


def _claim_stdout() -> TextIO:
    """Return stdout for our lines alone, and lead to stderr whatever a runtime prints there."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def _write_line(stdout: TextIO, line: Mapping[str, object]) -> None:
    stdout.write(json.dumps(line) + "\n")
    stdout.flush()


def _die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, however that dies; it may have died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this worker is gone")
