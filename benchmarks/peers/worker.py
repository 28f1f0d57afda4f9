"""The program that has one contender loaded: it reads requests as lines of JSON from stdin, and answers each by a line.

    {"do": "build"}                               -> {"done": true}
    {"do": "load"}                                -> {"version": "…"}
    {"do": "answer", "output": "logits.npy"}      -> {"done": true}, all inputs answered into that file
    {"do": "time", "warmup_s": …, "timed_s": …}   -> {"samples_ns": […]}, one for each call
    {"do": "peak"}                                -> {"peak_bytes": …}, the largest resident memory so far

What fails answers {"failed": "…"}. It imports no more than numpy by itself, for it runs in any peer's environment.
"""

import contextlib
import ctypes
import importlib
import itertools
import json
import os
import re
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from benchmarks.peers.case import INPUTS, Case, decode
from benchmarks.peers.runtimes import Loaded, Native, Peer

PR_SET_PDEATHSIG = 1
LEAST_CALLS = 3
MOST_ROTATED = 8
Request = Mapping[str, object]


class Worker:
    """One contender, and what has been loaded of it."""

    def __init__(self, peer: Peer, case: Case) -> None:
        self.peer = peer
        self.case = case
        self.loaded: Loaded | None = None
        self.inputs: list[Native] = []

    def obey(self, request: Request) -> Mapping[str, object]:
        """Do what a request says, and return what answers it."""
        match request["do"]:
            case "build":
                self.peer.build(self.case)
            case "load":
                return {"version": self._load().version}
            case "answer":
                self._answer(Path(str(request["output"])))
            case "time":
                warmup_s, timed_s = (float(str(request[key])) for key in ("warmup_s", "timed_s"))
                self._time(warmup_s)
                return {"samples_ns": self._time(timed_s)}
            case "peak":
                return {"peak_bytes": peak_bytes()}
            case other:
                raise ValueError(f"there is no request {other!r}")
        return {"done": True}

    def _load(self) -> Loaded:
        self.loaded = self.peer.load(self.case)
        self.inputs = [self.loaded.take(batch) for batch in self.case.batches(INPUTS)[:MOST_ROTATED]]
        self.loaded.run(self.inputs[0])
        return self.loaded

    def _ready(self) -> Loaded:
        return self.loaded or self._load()

    def _answer(self, output: Path) -> None:
        ready = self._ready()
        answers = [np.array(ready.give(ready.run(ready.take(batch)))) for batch in self.case.batches(INPUTS)]
        np.save(output, np.concatenate(answers).astype(np.float32))

    def _time(self, seconds: float) -> list[int]:
        """Return the time of each call, over the inputs in turn."""
        run, clock, taken = self._ready().run, time.perf_counter_ns, list[int]()
        end = clock() + round(seconds * 1e9)
        for batch in itertools.cycle(self.inputs):
            began = clock()
            run(batch)
            ended = clock()
            taken.append(ended - began)
            if ended >= end and len(taken) >= LEAST_CALLS:
                return taken
        return taken


def peak_bytes() -> int:
    """Return the largest resident memory of this process. Raises RuntimeError where the kernel does not tell."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    if found is None:
        raise RuntimeError("this kernel does not tell the largest resident memory")
    return int(found[1]) * 1024


def main() -> None:
    """Answer requests until there are no more: argv has the peer's module, the case, and the process to die with."""
    module, case, parent = sys.argv[1:]
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the process that started this worker is gone")
    # Runtimes print on stdout whenever they like: that goes to stderr.
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    with contextlib.closing(stdout):
        _serve(module, decode(case), stdout)


def _serve(module: str, case: Case, stdout: TextIO) -> None:
    worker = None
    for line in sys.stdin:
        try:
            worker = worker or Worker(cast("Peer", importlib.import_module(module)), case)
            answer = worker.obey(json.loads(line))
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is why its row has no figure
            answer = {"failed": _told(error)}
        stdout.write(json.dumps(answer) + "\n")
        stdout.flush()


def _told(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:300]


if __name__ == "__main__":
    main()
