"""The parent's side of a contender's process: start it, ask it, hold it still while others are measured, end it."""

import contextlib
import json
import os
import selectors
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.peers.case import Case, encode
from benchmarks.peers.contenders import Contender

ROOT = Path(__file__).absolute().parent.parent.parent
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
LOG = "worker.log"
RUNTIMES = "benchmarks.peers.runtimes"


class FailedError(Exception):
    """A contender could not do what it was asked; the message says why."""


class Talker(Protocol):
    """A contender's process."""

    def ask(self, request: Mapping[str, object], limit_s: float) -> Mapping[str, object]:
        """Let it do something, and return its answer. Raises FailedError."""

    def pause(self) -> None:
        """Hold it still: no thread of it, however idle, takes the CPU from who is measured."""

    def resume(self) -> None:
        """Let it go on."""

    def end(self) -> None:
        """End it."""


@dataclass(kw_only=True, slots=True)
class Conversation:
    """A contender in a process of its own, with all that it starts."""

    process: subprocess.Popen[str]
    log: Path

    def ask(self, request: Mapping[str, object], limit_s: float) -> Mapping[str, object]:
        """Let it do something, and return its answer. Raises FailedError."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except OSError:
            raise self._died() from None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit_s):
                self.end()
                raise FailedError(f"took more than {limit_s:.0f} s to {request['do']}")
        line = self.process.stdout.readline()
        if not line:
            raise self._died()
        answer: Mapping[str, object] = json.loads(line)
        if "failed" in answer:
            raise FailedError(str(answer["failed"]))
        return answer

    def pause(self) -> None:
        """Hold it still, and wait until it is, or has ended."""
        self._signal(signal.SIGSTOP)
        # Looked at first, and an end left alone: that belongs to `wait`.
        found = os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is not None and found.si_code == os.CLD_STOPPED:
            os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOHANG)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it and all that it started."""
        self._signal(signal.SIGKILL)
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):
                pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def _died(self) -> FailedError:
        code = self.process.wait()
        self.end()
        how = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        last = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return FailedError(f"{how}: {last[0][:300]}" if last else how)


def start(contender: Contender, case: Case, python: str) -> Conversation:
    """Start a contender's process. What it prints goes to a log in its folder."""
    case.folder.mkdir(parents=True, exist_ok=True)
    log = case.folder / LOG
    module = f"{RUNTIMES}.{contender.module}"
    command = (python, "-m", "benchmarks.peers.worker", module, encode(case), str(os.getpid()))
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(case.threads)) | {"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            # A group of its own, which is stopped and ended as one.
            start_new_session=True,
        )
    return Conversation(process=process, log=log)
