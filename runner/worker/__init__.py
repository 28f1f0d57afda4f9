"""The program that runs one artifact in a process of its own. Its start and its memory count: it imports little.

It reads one `Order` as JSON from stdin and writes JSON lines on stdout: `{"done": n}` as samples are answered,
`{"timed": true}` and `{"timed": false}` at the borders of the timed window, at last `{"result": …}` or
`{"unavailable": …}`. Logits go to a file. All else that is printed goes to stderr, for runtimes
print on stdout whenever they like.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from runner.errors import RuntimeUnavailable
from runner.runtimes import load_runtime
from runner.worker.order import Order, decode
from runner.worker.probing import probe
from runner.worker.profiling import profile_calls
from runner.worker.samples import batches
from runner.worker.timing import time_calls

PROGRESS_NS = 200_000_000
PR_SET_PDEATHSIG = 1
SACRIFICE = "500"
"""Of 1000: added to what Linux goes by when it chooses whom to kill for memory."""


def main() -> None:
    """Do what stdin says."""
    order = decode(sys.stdin.read())
    die_with(order.parent)
    go_first()
    _pin(order.job.cpus)
    with claim_stdout() as stdout:
        try:
            result = _obey(order, stdout)
        except RuntimeUnavailable as error:
            problem = {"what": error.what, "where": error.where, "advice": error.advice}
            _write_line(stdout, {"unavailable": problem})
        else:
            _write_line(stdout, {"result": result})


def _obey(order: Order, stdout: TextIO) -> Mapping[str, object]:
    if order.probing is not None:
        return probe(order, order.probing)
    if order.profiling_seed is not None:
        return profile_calls(order, order.profiling_seed)
    if order.timing is not None:
        return time_calls(order, order.timing, lambda begins: _write_line(stdout, {"timed": begins}))
    return answer(order, stdout)


def answer(order: Order, stdout: TextIO) -> Mapping[str, object]:
    """Write the logits of every sample, in batches of the job's size."""
    job = order.job
    session = load_runtime(job.format).load(job.file, job.options)
    done, reported_ns, shape = 0, 0, (0,)
    # Written as they come: what is held does not grow with their number.
    with order.output.open("wb") as file:
        for batch in batches(job):
            logits = session.run(batch)
            if not done:
                shape = logits.shape[1:]
                _write_header(file, (job.inputs.shape[0], *shape))
            # Rows that are missing would be made up from others, without a word.
            if logits.shape != (len(batch), *shape):
                raise ValueError(f"{len(batch)} samples, and logits of the shape {logits.shape}")
            file.write(np.ascontiguousarray(logits, np.float32).data)
            done += len(batch)
            if (now := time.perf_counter_ns()) - reported_ns > PROGRESS_NS:
                reported_ns = now
                _write_line(stdout, {"done": done})
    placement = session.placement()
    return {
        "provider": session.provider,
        "version": session.version,
        "placement": asdict(placement) if placement else None,
    }


def _write_header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """Begin a .npy file of float32 rows."""
    header = {"shape": shape, "fortran_order": False, "descr": np.lib.format.dtype_to_descr(np.dtype(np.float32))}
    np.lib.format.write_array_header_1_0(file, header)


def _pin(cpus: tuple[int, ...]) -> None:
    """Stay on these CPUs. Before the runtime is imported: its threads take over what they find then."""
    if cpus:
        # They may have been taken away since they were chosen: the scheduler's choice is recorded then.
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cpus)


def claim_stdout() -> TextIO:
    """Return stdout for our lines alone, and lead to stderr whatever a runtime prints there."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def _write_line(stdout: TextIO, line: Mapping[str, object]) -> None:
    stdout.write(json.dumps(line) + "\n")
    stdout.flush()


def die_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent dies, however that dies; it may have died already."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this worker is gone")


def go_first() -> None:
    """Have Linux kill this process where memory runs out, and not the one that started it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(SACRIFICE, encoding="ascii")
