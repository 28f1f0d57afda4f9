import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest

from runner import workers
from runner.arrays import ArrayLocation
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.runtimes import Options
from runner.worker.order import Job, Order, Timing
from runner.workers import WORKERS, Subprocesses
from tests import networks

JOB = Job(
    file=Path("net.onnx"),
    format="onnx",
    options=Options(threads=3),
    inputs=ArrayLocation(path=Path("inputs.bin"), offset=0, shape=(4, 1, 8, 8), dtype="|u1"),
    preprocess=networks.PREPROCESS,
)
BRIEF = Timing(warmup_s=0.0, timed_s=0.0, seed=0)

PARENT_THAT_IS_STOPPED = """
from pathlib import Path
from runner.errors import MeasurementError
from runner import workers
from tests.runner import test_workers as tests

STOP = '''
os.kill(os.getppid(), signal.SIGSTOP)
time.sleep(1.5)
print(json.dumps({"done": 1}), flush=True)
os.kill(os.getppid(), signal.SIGCONT)
time.sleep(0.5)
sys.exit(9)
'''
tests.write_program(Path.cwd(), STOP)
workers.ROOT = Path.cwd()
try:
    workers.Subprocesses(silence_s=1).answer(tests.JOB, lambda *_, **__: None)
except MeasurementError as error:
    print(error.what)
"""


def _path_here() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def _program(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put another program in the worker's place."""
    write_program(folder, body)
    monkeypatch.setattr(workers, "ROOT", folder)


def write_program(folder: Path, body: str) -> None:
    """Write a package `runner` of its own, whose worker's `main` is `body`."""
    package = folder / "runner"
    package.mkdir()
    (package / "__init__.py").touch()
    lines = [
        "import json, os, signal, sys, time",
        "def main():",
        *(f"    {line}" for line in body.splitlines()),
    ]
    (package / "worker.py").write_text("\n".join(lines), encoding="utf-8")


def _ignore(steps: int = 1, note: str = "") -> None:
    pass


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SIGKILL", "the system most likely ran out of memory: fewer --threads, or a smaller model"),
        (
            "SIGILL",
            "this build of the runtime uses instructions that the CPU does not have: install an older one",
        ),
        ("SIGTERM", ""),
    ],
)
def test_a_worker_that_is_killed_is_reported_with_the_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    _program(tmp_path, monkeypatch, f"os.kill(os.getpid(), signal.{name})")
    with pytest.raises(MeasurementError) as caught:
        WORKERS.time(JOB, BRIEF)
    assert (caught.value.what, caught.value.advice) == (f"the worker was ended by {name}", advice)


def test_a_worker_that_raises_is_reported_with_its_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "raise ValueError('wrong shape')")
    with pytest.raises(MeasurementError) as caught:
        WORKERS.answer(JOB, _ignore)
    assert caught.value.what == "the worker ended with status 1: ValueError: wrong shape"


def test_a_worker_that_ends_without_a_word_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "sys.exit(0)")
    with pytest.raises(MeasurementError) as caught:
        WORKERS.answer(JOB, _ignore)
    assert caught.value.what == "the worker ended with status 0: it left no word"


def test_a_worker_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with pytest.raises(MeasurementError) as caught:
        Subprocesses(silence_s=2).time(JOB, BRIEF)
    assert caught.value.what == "the worker said nothing for 2 s and was ended"
    pid = (tmp_path / "pid").read_text(encoding="ascii")
    assert not Path("/proc", pid).exists()


def test_a_worker_that_goes_on_telling_is_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "for done in range(8): print(json.dumps({'done': done}), flush=True); time.sleep(0.4)\nraise SystemExit(9)"
    _program(tmp_path, monkeypatch, body)
    with pytest.raises(MeasurementError, match="ended with status 9"):
        Subprocesses(silence_s=2).answer(JOB, _ignore)


def test_what_a_worker_tells_while_its_parent_is_stopped_is_heard(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT_THAT_IS_STOPPED, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "parent.py"], check=True, cwd=tmp_path, env=_path_here(), capture_output=True, text=True
    )
    assert ended.stdout == "the worker ended with status 9: it left no word\n"


@pytest.mark.parametrize(
    ("written", "what"),
    [
        ("hello", "the worker wrote what is no result: 'hello' (not JSON: Expecting value: line 1 column 1 (char 0))"),
        ('{"done": "x"}', 'the worker wrote what is no result: \'{"done": "x"}\' (done: '),
        ('{"result": {"provider": "p"}}', "(result.version: missing)"),
        ('{"result": {"provider": "p", "version": "1"}}', "the worker returned no times"),
    ],
)
def test_a_worker_that_answers_garbage_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, what: str
) -> None:
    _program(tmp_path, monkeypatch, f"print({written!r}, flush=True)\ntime.sleep(600)")
    with pytest.raises(MeasurementError) as caught:
        WORKERS.time(JOB, BRIEF)
    assert what in caught.value.what


def test_a_worker_without_logits_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, 'print(\'{"result": {"provider": "p", "version": "1"}}\')')
    with pytest.raises(MeasurementError, match="the worker's logits cannot be read"):
        WORKERS.answer(JOB, _ignore)


def test_why_a_runtime_is_not_available_arrives_as_it_was_said(tmp_path: Path) -> None:
    file = tmp_path / "net.onnx"
    file.write_bytes(b"no network")
    job = Job(file=file, format="onnx", options=Options(threads=1), inputs=JOB.inputs, preprocess=JOB.preprocess)
    with pytest.raises(RuntimeUnavailable, match=r"^net\.onnx: ONNX Runtime .* cannot load it") as caught:
        WORKERS.answer(job, _ignore)
    assert caught.value.advice == f"onnxruntime newer than {onnxruntime.__version__}, or pack it again"


def test_an_interruption_ends_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _program(tmp_path, monkeypatch, "print(json.dumps({'done': os.getpid()}), flush=True); time.sleep(600)")
    pids: list[int] = []

    def interrupt(steps: int = 1, note: str = "") -> None:
        pids.append(steps)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WORKERS.answer(JOB, interrupt)
    assert not Path("/proc", str(pids[0])).exists()


def test_each_process_gets_its_threads_and_a_padding_of_its_own() -> None:
    orders = [
        Order(job=JOB, timing=Timing(warmup_s=0, timed_s=0, seed=seed), output=Path("logits.npy"), parent=1)
        for seed in (1, 2, 1)
    ]
    first, second, again = [workers._environment(order) for order in orders]
    assert first["OMP_NUM_THREADS"] == first["MKL_NUM_THREADS"] == "3"
    assert len(first["EDGEPACK_PADDING"]) != len(second["EDGEPACK_PADDING"])
    assert first == again


def test_threads_sleep_while_they_wait_only_where_nobody_times_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    answering = Order(job=JOB, timing=None, output=Path("logits.npy"), parent=1)
    timing = replace(answering, timing=Timing(warmup_s=0, timed_s=0, seed=0))
    assert workers._environment(answering)["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in workers._environment(timing)
