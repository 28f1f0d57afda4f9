"""Real worker processes in which something goes wrong: it is recorded, and the rest goes on."""

from pathlib import Path

import numpy as np
import pytest

from runner import codec, verify
from runner import workers as module
from runner.bundle import FP32_REFERENCE, Bundle
from runner.measure import Bench, run
from runner.measure.latency import Plan
from runner.progress import Progress, Silent
from runner.report import Report, Settings
from runner.report_reader import read
from tests import bundles, networks, reports
from tests.fakes import RecordingProgress

SAMPLES = 40
SETTINGS = Settings(threads=1)
FAULTY = """
import sys
sys.path.insert(0, sys.argv[1])
import os, pathlib, resource
import numpy as np
import runner.runtimes.onnx as onnx

load = onnx.load

class Faulty:
    loaded = 0

    def __init__(self, session, name):
        Faulty.loaded += 1
        self.session, self.name, self.calls, self.number = session, name, 0, Faulty.loaded
        self.provider, self.version = session.provider, session.version

    def device_ns(self, inputs):
        return None

    def device_memory(self):
        return None

    def placement(self):
        return None

    def run(self, inputs):
        self.calls += 1
        logits = self.session.run(inputs)
        return self.fault(logits) if self.name == "int8.onnx" else logits

    def fault(self, logits):
        {fault}
        return logits

onnx.load = lambda path, options: Faulty(load(path, options), path.name)
from runner.worker import main
main()
"""
LATER = f"if self.calls > {SAMPLES}: "
"""Not yet while it answers, one call a sample; then in the middle of the timed window."""


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    """Return a bundle of two artifacts, of which `int8.onnx` is the one that fails."""
    network = networks.write_onnx(tmp_path / "net.onnx").read_bytes()
    logits = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
    artifacts = (bundles.artifact("int8"), bundles.artifact())
    return bundles.write_bundle(
        tmp_path / "net.edgepack",
        {item.name: network for item in artifacts},
        artifacts,
        logits=dict.fromkeys((FP32_REFERENCE, *(item.name for item in artifacts)), logits),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    )


def measured(
    source: Bundle,
    processes: int,
    only: tuple[str, ...] = (),
    settings: Settings = SETTINGS,
    progress: Progress = Silent(),  # noqa: B008 - has no state
) -> Report:
    """Measure with real workers, and hold the report against itself."""
    plan = Plan(processes=processes, warmup_s=0, timed_s=0, until_precise=False)
    bench = Bench(facts=reports.device, state=reports.state, plans={"quick": plan}, meters=lambda: ())
    report = run(source, settings, only=only, progress=progress, bench=bench)
    assert verify.contradictions(report) == ()
    assert read(codec.write_json(report), "report.json") == report
    return report


def put(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every worker go wrong with `int8.onnx` in this way."""
    monkeypatch.setattr(module, "START", FAULTY.replace("{fault}", fault))


@pytest.mark.parametrize(
    ("fault", "what"),
    [
        ("logits = logits[:, ::-1]", " answers differ, and logits by up to "),
        ("logits = logits * np.float32('nan')", ": logits that are not finite, or of another shape"),
        ("logits = logits[:, :2]", ": logits that are not finite, or of another shape"),
    ],
    ids=["other answers", "nan", "another shape"],
)
def test_a_runtime_that_answers_otherwise_the_second_time_is_void(
    source: Bundle, monkeypatch: pytest.MonkeyPatch, fault: str, what: str
) -> None:
    put(LATER + fault, monkeypatch)
    report = measured(source, 1, only=("int8.onnx",))
    (artifact,) = report.artifacts
    assert artifact.accuracy is not None
    assert artifact.accuracy.top1 == 1.0
    (changed,) = (reason for reason in artifact.reasons if reason.code == "answers-changed")
    assert changed.level == "invalid"
    assert changed.detail.startswith("while it was timed it gave other answers than before: ")
    assert what in f" {changed.detail}"
    assert (report.fastest, report.status) == (None, "invalid")


def test_a_stream_beside_the_first_that_answers_otherwise_is_found(
    source: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("logits = logits[:, ::-1] if self.number == 2 else logits", monkeypatch)
    (alone,) = measured(source, 1, only=("int8.onnx",)).artifacts
    assert "answers-changed" not in {reason.code for reason in alone.reasons}
    (artifact,) = measured(source, 1, only=("int8.onnx",), settings=Settings(threads=1, streams=2)).artifacts
    (changed,) = (reason for reason in artifact.reasons if reason.code == "answers-changed")
    assert " answers differ, and logits by up to " in changed.detail


@pytest.mark.parametrize(
    ("fault", "code", "what"),
    [
        ("logits = logits * np.float32('nan')", "not-finite", "40 of 40 answers hold a NaN or an infinity"),
        ("logits = logits[:, :2]", "wrong-shape", "its logits have the shape (40, 2), and (40, 3) was asked for"),
        (
            "logits = logits[:, : 2 + self.calls % 2]",
            "worker-failed",
            "the worker ended with status 1: ValueError: 1 samples, and logits of the shape (1, 2)",
        ),
        (
            "logits = np.repeat(logits, 2, axis=0)",
            "worker-failed",
            "the worker ended with status 1: ValueError: 1 samples, and logits of the shape (2, 3)",
        ),
        ("resource.setrlimit(resource.RLIMIT_AS, (1 << 28, -1)); np.ones(1 << 30)", "worker-failed", "MemoryError"),
    ],
    ids=["nan", "another shape", "shapes that change", "too many rows", "out of memory"],
)
def test_a_runtime_that_never_answers_well_voids_its_artifact_and_the_others_go_on(
    source: Bundle, monkeypatch: pytest.MonkeyPatch, fault: str, code: str, what: str
) -> None:
    put(fault, monkeypatch)
    report = measured(source, 1)
    int8, fp32 = report.artifacts
    (reason,) = int8.reasons
    assert (reason.advice == "fewer --threads, or a smaller model") == ("MemoryError" in reason.detail)
    assert (reason.code, reason.level, int8.accuracy, int8.latency) == (code, "invalid", None, None)
    assert what in reason.detail
    assert fp32.accuracy is not None
    assert fp32.accuracy.top1 == 1.0
    assert fp32.latency is not None


def test_one_answer_for_a_whole_batch_is_not_spread_over_it(source: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    put("logits = logits[:1]", monkeypatch)
    (artifact,) = measured(source, 1, only=("int8.onnx",), settings=Settings(threads=1, batch=8)).artifacts
    (reason,) = artifact.reasons
    assert (reason.code, artifact.accuracy) == ("worker-failed", None)
    assert reason.detail == "the worker ended with status 1: ValueError: 8 samples, and logits of the shape (1, 3)"


def test_workers_that_run_out_of_memory_while_they_are_timed_are_given_up_after_three(
    source: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(LATER + "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, -1)); np.ones(1 << 30)", monkeypatch)
    progress = RecordingProgress()
    (artifact,) = measured(source, 4, only=("int8.onnx",), progress=progress).artifacts
    assert artifact.accuracy is not None
    assert artifact.latency is None
    (reason,) = artifact.reasons
    assert (reason.code, reason.level) == ("no-latency", "invalid")
    assert "MemoryError: Unable to allocate 8.00 GiB" in reason.detail
    assert progress.tasks[-1] == ("timing", 4, 4)


def test_a_worker_that_is_killed_in_mid_run_is_recorded_and_its_artifact_stays_valid(
    source: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "killed"
    once = f"marker = pathlib.Path({str(marker)!r}); "
    put(LATER + once + "marker.exists() or [marker.touch(), os.kill(os.getpid(), 9)]", monkeypatch)
    (artifact,) = measured(source, 5, only=("int8.onnx",)).artifacts
    latency = artifact.latency
    assert latency is not None
    assert latency.failures == ("the worker was ended by SIGKILL",)
    assert [process.turn for process in latency.processes] == [1, 2, 3, 4, 5]
    assert latency.stopped == "budget"
    assert not {reason.code for reason in artifact.reasons} & {"few-processes", "answers-changed", "worker-failed"}


def test_a_real_process_tells_where_it_ran_what_it_used_and_its_memory(source: Bundle) -> None:
    (artifact,) = measured(source, 1, only=("fp32.onnx",)).artifacts
    assert artifact.latency is not None
    (process,) = artifact.latency.processes
    assert process.harness is not None
    assert process.usage is not None
    assert process.harness.resolution_ns > 0
    assert process.usage.ended_ns - process.usage.began_ns >= sum(process.samples_ns) * process.calls_per_sample
    assert process.machine[0].monotonic_ns <= process.usage.began_ns
    assert process.machine[-1].monotonic_ns >= process.usage.ended_ns
    assert process.imported_bytes is not None
    assert process.peak_bytes is not None
    assert process.peak_bytes >= process.imported_bytes
    phases = (process.import_peak_bytes, process.load_peak_bytes, process.run_peak_bytes)
    assert None in phases or max(filter(None, phases)) <= process.peak_bytes
