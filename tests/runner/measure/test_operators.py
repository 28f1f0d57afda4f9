"""The pass that profiles: only where it is asked for, after all that is timed, and never the end of a run."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from runner.bundle import FP32_REFERENCE
from runner.errors import MeasurementError
from runner.measure import Bench, run
from runner.operators import OperatorTime
from runner.reason import Reason
from runner.report import Report, Settings
from tests import bundles, reports
from tests.fakes import FakeWorkers, RecordingProgress, Script, quiet

LABELS = np.arange(30) % 3
LOGITS = np.asarray(np.eye(3)[LABELS] * 4, np.float32)
CONV = OperatorTime(name="conv1", op_type="Conv", calls=1.0, mean_ns=7500.0, share=0.75)
GEMM = OperatorTime(name="linear", op_type="Gemm", calls=1.0, mean_ns=2500.0, share=0.25)


def _run(
    folder: Path, settings: Settings, found: tuple[OperatorTime, ...] | BaseException
) -> tuple[Report, FakeWorkers, RecordingProgress]:
    artifacts = bundles.artifact(), bundles.artifact("int8")
    logits = {FP32_REFERENCE: LOGITS, "fp32.onnx": LOGITS, "int8.onnx": LOGITS}
    files = {artifact.name: artifact.name.encode() for artifact in artifacts}
    bundle = bundles.write_bundle(folder / "net.edgepack", files, artifacts, logits=logits, labels=LABELS)
    workers = FakeWorkers(
        {
            "fp32.onnx": Script(logits=LOGITS, operators=(CONV, GEMM)),
            "int8.onnx": Script(logits=LOGITS, operators=found),
        }
    )
    progress = RecordingProgress()
    bench = Bench(workers=workers, facts=reports.device, state=reports.state, instruments=quiet, meters=tuple)
    return run(bundle, settings, bench=bench, progress=progress), workers, progress


def test_operators_are_profiled_once_for_each_artifact_after_all_that_is_timed(tmp_path: Path) -> None:
    settings = Settings(threads=2, profile_ops=True)
    report, workers, progress = _run(tmp_path, settings, (CONV,))
    assert [artifact.operators for artifact in report.artifacts] == [(CONV, GEMM), (CONV,)]
    assert [(job.file.name, timed) for job, timed in workers.profiled] == [("fp32.onnx", 10), ("int8.onnx", 10)]
    assert progress.tasks[-1] == ("operators", 2, 2)
    assert (report.status, report.settings.profile_ops) == ("valid", True)


def test_nothing_is_profiled_unless_it_is_asked_for(tmp_path: Path) -> None:
    report, workers, _ = _run(tmp_path, Settings(threads=2), (CONV,))
    assert (workers.profiled, report.artifacts[0].operators) == ([], ())


def test_an_artifact_that_cannot_be_profiled_has_a_note_and_all_its_figures(tmp_path: Path) -> None:
    died = MeasurementError("the worker was ended by SIGKILL", advice="fewer --threads")
    report, _, _ = _run(tmp_path, Settings(threads=2, profile_ops=True), died)
    fp32, int8 = report.artifacts
    assert fp32.operators == (CONV, GEMM)
    assert int8.reasons == (
        Reason(
            code="not-profiled",
            level="note",
            detail="no time per operator: the worker was ended by SIGKILL",
            advice="fewer --threads",
        ),
    )
    assert int8.latency is not None
    assert (report.status, report.complete) == ("valid", True)


def test_a_runtime_that_names_no_operator_is_told_of(tmp_path: Path) -> None:
    report, _, _ = _run(tmp_path, replace(Settings(threads=2), profile_ops=True), ())
    assert [reason.detail for reason in report.artifacts[1].reasons] == ["no time per operator: the runtime named none"]
