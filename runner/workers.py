"""The parent's side of a worker process: start it, give it its order, hear it out or end it."""

import contextlib
import os
import random
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from runner import codec
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.operators import OperatorTime
from runner.process import Process
from runner.progress import Advance
from runner.runtimes import Placement
from runner.worker.order import Job, Order, Probing, Timing, encode

ROOT = Path(__file__).absolute().parent.parent
"""The folder, or the bundle, that holds the package `runner`."""
START = "import sys; sys.path.insert(0, sys.argv[1]); from runner.worker import main; main()"
SILENCE_S = 300.0
MOST_PADDING = 4096
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
READ_BYTES = 1 << 16

SMALLER = "fewer --threads, or a smaller model"
DEATHS = {
    signal.SIGKILL: f"the system most likely ran out of memory: {SMALLER}",
    signal.SIGILL: "this build of the runtime uses instructions that the CPU does not have: install an older one",
    signal.SIGSEGV: "another version of the runtime",
    signal.SIGBUS: "see that the disk is not full and the bundle is still in its place",
}
NO_MEMORY = ("MemoryError", "bad_alloc", "can't allocate memory")
"""What Python, C++ and torch say where they get none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """What an artifact said to every sample."""

    provider: str
    version: str
    logits: NDArray[np.float32]
    placement: Placement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Timed:
    """How long an artifact took, and what it said meanwhile."""

    provider: str
    version: str
    process: Process
    batches: tuple[int, ...]
    """Which batches of the evaluation set were timed, in turn; of several streams, those of one after the other."""
    logits: NDArray[np.float32]
    """The last answer to each of them: batches x batch x classes."""


def ignore_window(_: bool) -> None:
    """Do nothing at the borders of the timed window."""


class Workers(Protocol):
    """Runs jobs, each in a fresh process."""

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the logits of every sample. Raises MeasurementError and RuntimeUnavailable."""

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return the latency of many calls; `window` hears when the timed window begins, True, and when it ends.

        Raises MeasurementError and RuntimeUnavailable.
        """

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return the time of each operator. Raises MeasurementError and RuntimeUnavailable."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a worker says at its end."""

    provider: str
    version: str
    batches: tuple[int, ...] = ()
    process: Process | None = None
    operators: tuple[OperatorTime, ...] = ()
    placement: Placement | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why a worker's runtime cannot run the artifact: a RuntimeUnavailable on its way."""

    what: str
    where: str
    advice: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line that a worker writes: one of the four."""

    done: int | None = None
    timed: bool | None = None
    result: Result | None = None
    unavailable: Unavailable | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Subprocesses:
    """Workers as processes of this machine."""

    silence_s: float = SILENCE_S
    """A worker that says nothing for so long is ended."""

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the logits of every sample. Raises MeasurementError and RuntimeUnavailable."""
        with _output() as path:
            order = Order(job=job, timing=None, output=path, parent=os.getpid())
            result = self._converse(order, advance, ignore_window)
            return Answered(
                provider=result.provider,
                version=result.version,
                logits=_load_logits(path),
                placement=result.placement,
            )

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return the latency of many calls. Raises MeasurementError and RuntimeUnavailable."""
        with _output() as path:
            order = Order(job=job, timing=timing, output=path, parent=os.getpid())
            result = self._converse(order, lambda *_, **__: None, window)
            if result.process is None:
                raise MeasurementError("the worker returned no times")
            return Timed(
                provider=result.provider,
                version=result.version,
                process=result.process,
                batches=result.batches,
                logits=_load_logits(path),
            )

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return the time of each operator. Raises MeasurementError and RuntimeUnavailable."""
        with _output() as path:
            order = Order(job=job, timing=None, profiling_seed=seed, output=path, parent=os.getpid())
            return self._converse(order, lambda *_, **__: None, ignore_window).operators

    def probe(self, job: Job, probing: Probing) -> bytes:
        """Return an .npz of what the artifact and its probe return. Raises MeasurementError and RuntimeUnavailable."""
        with _output() as path:
            order = Order(job=job, timing=None, probing=probing, output=path, parent=os.getpid())
            self._converse(order, lambda *_, **__: None, ignore_window)
            return path.read_bytes()

    def _converse(self, order: Order, advance: Advance, window: Callable[[bool], None]) -> Result:
        """Give a fresh worker its order, and return what it says last."""
        done = 0
        with tempfile.TemporaryFile() as stderr, _process(order, stderr) as process:
            for text in _lines(process, self.silence_s):
                line = _parse(text)
                if line.unavailable:
                    raise RuntimeUnavailable(
                        line.unavailable.what, where=line.unavailable.where, advice=line.unavailable.advice
                    )
                if line.timed is not None:
                    window(line.timed)
                if line.done is not None:
                    advance(line.done - done)
                    done = line.done
                if line.result:
                    advance(order.job.inputs.shape[0] - done)
                    return line.result
            raise _death(process.wait(), stderr)


WORKERS: Workers = Subprocesses()


@contextlib.contextmanager
def _output() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        yield Path(folder) / "logits.npy"


def _load_logits(path: Path) -> NDArray[np.float32]:
    """Map the logits: the file's pages stay as long as they are used, also when its name is gone."""
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError) as error:
        raise MeasurementError(f"the worker's logits cannot be read: {error}") from None


@contextlib.contextmanager
def _process(order: Order, stderr: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Start a worker and hand it its order; on the way out it is dead, whatever happened."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", START, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=_environment(order),
        start_new_session=True,  # Ctrl-C is for the parent, which ends the worker itself
    )
    try:
        assert process.stdin is not None
        # A worker that died at its start has closed the pipe: its exit status says more than the pipe.
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(encode(order).encode())
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _environment(order: Order) -> dict[str, str]:
    """Return the worker's environment: the threads, and a padding that moves its stack from process to process.

    Threads that nobody times sleep while they wait for each other. By default those of OpenMP spin, and on a machine
    that does something else as well keep each other from the CPU: 2,000 answers took 100 times as long.

    Where the stack begins changes latency by some percent, and stays for a process's life: Mytkowicz et al.,
    "Producing Wrong Data Without Doing Anything Obviously Wrong!", ASPLOS 2009.
    """
    threads = dict.fromkeys(THREAD_VARIABLES, str(order.job.options.threads))
    seed = order.timing.seed if order.timing else 0
    padding = "x" * random.Random(seed).randrange(MOST_PADDING)  # noqa: S311 - no secret
    waiting = {} if order.timing or order.profiling_seed is not None else {"OMP_WAIT_POLICY": "PASSIVE"}
    return {**os.environ, **threads, **waiting, "EDGEPACK_PADDING": padding}


def _lines(process: subprocess.Popen[bytes], silence_s: float) -> Iterator[bytes]:
    """Yield what the worker writes, line by line. Raises MeasurementError when it falls silent."""
    assert process.stdout is not None
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + silence_s
        while True:
            # The second look is for a parent that was stopped (Ctrl-Z) beyond the deadline: the first returns nothing
            # then, whatever lies in the pipe, because its time-out is up once it goes on (PEP 475).
            if not selector.select(max(0.0, deadline - time.monotonic())) and not selector.select(0.0):
                raise MeasurementError(f"the worker said nothing for {silence_s:g} s and was ended")
            data = os.read(process.stdout.fileno(), READ_BYTES)
            if not data:
                return
            *lines, pending = (pending + data).split(b"\n")
            if lines:
                deadline = time.monotonic() + silence_s
            yield from lines


def _parse(text: bytes) -> Line:
    try:
        return codec.read_json(Line, text)
    except codec.InvalidDocumentError as error:
        shown = text[:60].decode(errors="replace")
        raise MeasurementError(f"the worker wrote what is no result: {shown!r} ({error.problems[0]})") from None


def _death(status: int, stderr: IO[bytes]) -> MeasurementError:
    if status < 0:
        name = signal.Signals(-status).name
        return MeasurementError(f"the worker was ended by {name}", advice=DEATHS.get(signal.Signals(-status), ""))
    stderr.seek(0)
    lines = stderr.read().decode(errors="replace").strip().splitlines()
    last = lines[-1] if lines else "it left no word"
    advice = SMALLER if any(word in last for word in NO_MEMORY) else ""
    return MeasurementError(f"the worker ended with status {status}: {last}", advice=advice)
