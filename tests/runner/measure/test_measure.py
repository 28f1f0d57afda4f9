import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runner import codec, verify
from runner.arrays import ArrayLocation
from runner.bundle import FP32_REFERENCE, Bundle
from runner.errors import BundleError, MeasurementError, RuntimeUnavailable, UsageError
from runner.facts import DeviceFacts, DeviceState, Runtime
from runner.install import Interpreter
from runner.manifest import Artifact, Target
from runner.measure import Bench, Host, run
from runner.measure.answers import Answers, Subject, answers
from runner.measure.latency import Plan
from runner.packing import Packing
from runner.report import Report, RuntimeFacts, Settings
from runner.report_reader import read
from tests import bundles, networks, reports
from tests.fakes import FakeWorkers, RecordingProgress, Script, quiet

SAMPLES, CLASSES = 200, 3
LABELS = np.arange(SAMPLES) % CLASSES
SETTINGS = Settings(threads=2)
PACKING = Packing(epochs=(), steps=())
PYTHON = Interpreter(machine="x86_64", bits=64, version=(3, 11), executable="/venv/bin/python", in_venv=True)
TORCH_COMMAND = "/venv/bin/python -m pip install --index-url https://download.pytorch.org/whl/cpu torch"


def _logits(wrong: int = 0, start: int = 0) -> NDArray[np.float32]:
    """Return logits whose answers are right but for `wrong` samples from `start` on."""
    chosen = LABELS.copy()
    chosen[start : start + wrong] = (chosen[start : start + wrong] + 1) % CLASSES
    return np.asarray(np.eye(CLASSES)[chosen] * 4, np.float32)


def _facts(*, machine: str = "x86_64", cuda: tuple[str, ...] = (), torch: bool = True) -> DeviceFacts:
    runtimes = (
        Runtime(format="onnx", package="onnxruntime", version="1.31.1", kernel="none"),
        Runtime(format="torchscript", package="torch", version="2.14.1" if torch else None, kernel="none"),
    )
    return replace(reports.device(machine=machine), cuda=cuda, runtimes=runtimes)


def _bench(workers: FakeWorkers, facts: DeviceFacts | None = None) -> Bench:
    return Bench(
        workers=workers,
        facts=lambda: facts or _facts(),
        state=reports.state,
        instruments=quiet,
        python=lambda cuda: replace(PYTHON, cuda=cuda),
    )


def _bundle(
    folder: Path,
    *artifacts: Artifact,
    host: dict[str, NDArray[np.float32]] | None = None,
    target: Target = bundles.TARGET,
) -> Bundle:
    logits = {FP32_REFERENCE: _logits(), **{each.name: _logits() for each in artifacts}, **(host or {})}
    files = {each.name: f"the bytes of {each.name}".encode() for each in artifacts}
    return bundles.write_bundle(folder / "net.edgepack", files, artifacts, logits=logits, labels=LABELS, target=target)


FP32, INT8, TORCH = bundles.artifact(), bundles.artifact("int8"), bundles.artifact("int8", "torchscript")


def _codes(report: Report, name: str) -> list[tuple[str, str]]:
    found = report.artifact(name)
    assert found is not None
    return [(reason.code, reason.level) for reason in found.reasons]


def test_every_artifact_is_answered_once_and_timed_in_five_fresh_processes(tmp_path: Path) -> None:
    workers = FakeWorkers(
        {
            "fp32.onnx": Script(logits=_logits(), medians_ns=(200_000, 204_000, 202_000, 198_000, 206_000)),
            "int8.onnx": Script(logits=_logits(), medians_ns=(90_000,)),
        }
    )
    bundle = _bundle(tmp_path, FP32, INT8)
    progress = RecordingProgress()
    report = run(bundle, SETTINGS, progress=progress, bench=_bench(workers))
    fp32, int8 = report.artifacts
    assert fp32.latency is not None
    assert fp32.latency.median_ns == 202_000
    assert fp32.accuracy is not None
    assert (fp32.accuracy.top1, fp32.accuracy.identical_to_host) == (1.0, True)
    assert int8.latency is not None
    assert (int8.peak_bytes, len(int8.latency.processes)) == (70_000_000, 5)
    assert int8.runtime == RuntimeFacts(
        name="onnx", version="1.0", provider="FakeProvider", device="cpu", engine=None, threads=2
    )
    assert (report.fastest, report.status, report.complete) == ("int8.onnx", "valid", True)
    assert (report.bundle_id, report.bundle_size_bytes) == (bundle.id, bundle.path.stat().st_size)
    assert (len(workers.answered), len(workers.timed)) == (2, 10)
    assert progress.tasks == [
        ("fp32.onnx: answers", 200, 200),
        ("int8.onnx: answers", 200, 200),
        ("timing", 10, 10),
    ]


def test_the_report_is_sealed_and_holds_against_its_own_record(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits(wrong=3), medians_ns=(200_000, 210_000))})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers))
    assert read(codec.write_json(report), "report.json") == report
    assert verify.contradictions(report) == ()


def test_processes_of_the_artifacts_take_turns_and_share_a_seed_in_each_round(tmp_path: Path) -> None:
    workers = FakeWorkers({name: Script(logits=_logits()) for name in ("fp32.onnx", "int8.onnx")})
    run(_bundle(tmp_path, FP32, INT8), SETTINGS, bench=_bench(workers))
    rounds = [workers.timed[turn : turn + 2] for turn in range(0, 10, 2)]
    assert all({job.file.name for job, _ in each} == {"fp32.onnx", "int8.onnx"} for each in rounds)
    assert [len({timing.seed for _, timing in each}) for each in rounds] == [1] * 5
    assert len({timing.seed for _, timing in workers.timed}) == 5
    assert {(timing.warmup_s, timing.timed_s) for _, timing in workers.timed} == {(1, 1)}


def test_the_fastest_artifact_is_passed_over_when_its_answers_do_not_hold(tmp_path: Path) -> None:
    workers = FakeWorkers(
        {
            "fp32.onnx": Script(logits=_logits(), medians_ns=(200_000,)),
            "int8.onnx": Script(logits=_logits(wrong=3), medians_ns=(90_000,)),
        }
    )
    report = run(_bundle(tmp_path, FP32, INT8), SETTINGS, bench=_bench(workers))
    assert report.fastest == "fp32.onnx"


def test_a_drop_of_exactly_one_point_and_one_flip_in_a_hundred_still_hold(tmp_path: Path) -> None:
    workers = FakeWorkers(
        {
            "fp32.onnx": Script(logits=_logits(), medians_ns=(200_000,)),
            "int8.onnx": Script(logits=_logits(wrong=2), medians_ns=(90_000,)),
        }
    )
    report = run(_bundle(tmp_path, FP32, INT8), SETTINGS, bench=_bench(workers))
    assert report.fastest == "int8.onnx"


def test_many_flips_against_the_host_do_not_hold_even_at_the_same_top1(tmp_path: Path) -> None:
    workers = FakeWorkers({"int8.onnx": Script(logits=_logits(wrong=2, start=50))})
    bundle = _bundle(tmp_path, INT8, host={"int8.onnx": _logits(wrong=2)})
    report = run(bundle, SETTINGS, bench=_bench(workers))
    found = report.artifacts[0].accuracy
    assert found is not None
    assert (found.top1, [flip.sample for flip in found.flips]) == (0.99, [0, 1, 50, 51])
    assert report.fastest is None


def test_an_artifact_without_its_runtime_is_listed_with_the_command_that_installs_it(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32, TORCH), SETTINGS, bench=_bench(workers, _facts(torch=False)))
    found = report.artifact("int8.torchscript")
    assert found is not None
    assert (found.runtime, found.accuracy, found.latency, found.peak_bytes) == (None, None, None, None)
    (reason,) = found.reasons
    assert (reason.code, reason.level, reason.detail) == ("no-runtime", "note", "torch is not installed here")
    assert reason.advice == TORCH_COMMAND
    assert report.status == "valid"


def test_a_runtime_that_the_board_cannot_have_is_listed_with_the_way_out(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    python = replace(PYTHON, machine="armv7l", bits=32)
    bench = replace(_bench(workers, _facts(torch=False)), python=lambda _: python)
    (reason,) = run(_bundle(tmp_path, FP32, TORCH), SETTINGS, bench=bench).artifacts[1].reasons
    assert reason.detail == (
        "torch is not installed here, and cannot be: "
        "torch has no wheels for a 32-bit system (armv7l, Python of 32 bits)"
    )
    assert reason.advice.startswith("a 64-bit system, which a Raspberry Pi 3 or later can run")


def test_on_a_machine_with_a_gpu_the_command_installs_a_torch_for_it(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    bench = _bench(workers, _facts(cuda=("NVIDIA H200",), torch=False))
    (reason,) = run(_bundle(tmp_path, FP32, TORCH), SETTINGS, bench=bench).artifacts[1].reasons
    assert reason.advice == "/venv/bin/python -m pip install torch"


def test_an_artifact_for_another_machine_is_listed_with_the_reason(tmp_path: Path) -> None:
    only_arm = bundles.artifact("int8", "torchscript", machines=("aarch64",))
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32, only_arm), SETTINGS, bench=_bench(workers))
    (reason,) = report.artifacts[1].reasons
    assert (reason.code, reason.detail) == ("wrong-machine", "runs on aarch64, and this machine is x86_64")


def test_nothing_that_can_be_run_is_an_error_of_its_own(tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, TORCH)
    with pytest.raises(RuntimeUnavailable) as caught:
        run(bundle, SETTINGS, bench=_bench(FakeWorkers({}), _facts(torch=False)))
    assert str(caught.value) == (
        "nothing here can run any of the artifacts: int8.torchscript: torch is not installed here"
        f"\n  try: {TORCH_COMMAND}"
    )


def test_an_artifact_that_its_runtime_cannot_load_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    refusal = RuntimeUnavailable("cannot load it", where="int8.onnx", advice="a newer onnxruntime")
    workers = FakeWorkers(
        {"fp32.onnx": Script(logits=_logits()), "int8.onnx": Script(logits=_logits(), refuses=refusal)}
    )
    report = run(_bundle(tmp_path, INT8, FP32), SETTINGS, bench=_bench(workers))
    assert _codes(report, "int8.onnx") == [("cannot-load", "note")]
    assert report.fastest == "fp32.onnx"


def test_a_worker_that_dies_while_it_answers_voids_its_artifact_alone(tmp_path: Path) -> None:
    death = MeasurementError("the worker was ended by SIGKILL")
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits()), "int8.onnx": Script(logits=_logits(), refuses=death)})
    report = run(_bundle(tmp_path, INT8, FP32), SETTINGS, bench=_bench(workers))
    assert _codes(report, "int8.onnx") == [("worker-failed", "invalid")]
    assert (report.fastest, report.status) == ("fp32.onnx", "invalid")


def test_a_worker_that_dies_while_it_is_timed_is_recorded_and_the_rest_goes_on(tmp_path: Path) -> None:
    dies = {1: MeasurementError("the worker was ended by SIGSEGV")}
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits(), dies=dies)})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers))
    found = report.artifacts[0].latency
    assert found is not None
    assert (len(found.processes), found.failures) == (5, ("the worker was ended by SIGSEGV",))
    assert _codes(report, "fp32.onnx") == []
    assert (report.fastest, report.status) == ("fp32.onnx", "valid")


def test_an_artifact_whose_workers_all_die_has_no_latency_and_is_given_up_after_three(tmp_path: Path) -> None:
    dies = {number: MeasurementError(f"death {number}") for number in range(5)}
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits(), dies=dies)})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers))
    assert report.artifacts[0].latency is None
    assert [reason.detail for reason in report.artifacts[0].reasons] == ["no worker process finished; death 0"]
    assert len(workers.timed) == 3


@pytest.mark.parametrize(
    ("logits", "code"),
    [(_logits() * np.float32(np.nan), "not-finite"), (_logits()[:, :2], "wrong-shape"), (_logits()[:7], "wrong-shape")],
)
def test_void_answers_are_a_reason_and_are_not_timed(tmp_path: Path, logits: NDArray[np.float32], code: str) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=logits)})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers))
    assert _codes(report, "fp32.onnx") == [(code, "invalid")]
    assert (report.artifacts[0].accuracy, report.artifacts[0].latency, workers.timed) == (None, None, [])


def test_speed_that_comes_from_other_answers_is_void(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits(), timed_logits=_logits(wrong=SAMPLES))})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers))
    assert _codes(report, "fp32.onnx") == [("answers-changed", "invalid")]
    assert report.fastest is None


def test_the_timed_answers_of_a_batch_are_held_against_the_same_samples(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32), replace(SETTINGS, batch=32), bench=_bench(workers))
    found = report.artifacts[0].latency
    assert found is not None
    assert (report.status, found.batch, found.throughput_per_s) == ("valid", 32, 32_000.0)
    assert workers.timed[0][0].batch == 32


def test_an_artifact_of_one_sample_at_a_time_is_not_timed_in_batches(tmp_path: Path) -> None:
    single = bundles.artifact("int8", dynamic_batch=False)
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits()), "int8.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32, single), replace(SETTINGS, batch=8), bench=_bench(workers))
    assert _codes(report, "int8.onnx") == [("fixed-batch", "note")]
    assert report.artifacts[1].accuracy is not None
    assert [job.batch for job in workers.answered] == [8, 1]


def test_a_batch_larger_than_the_evaluation_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="batch: expected 1 to 200, the samples that there are, got 201"):
        run(_bundle(tmp_path, FP32), replace(SETTINGS, batch=201), bench=_bench(FakeWorkers({})))


def test_only_the_artifacts_that_are_named_are_measured(tmp_path: Path) -> None:
    workers = FakeWorkers({"int8.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32, INT8), SETTINGS, only=("int8.onnx",), bench=_bench(workers))
    assert [artifact.name for artifact in report.artifacts] == ["int8.onnx"]


def test_an_unknown_artifact_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        run(_bundle(tmp_path, FP32, INT8), SETTINGS, only=("int8.onx",), bench=_bench(FakeWorkers({})))
    assert str(caught.value) == "net: no artifact 'int8.onx' in this bundle\n  try: did you mean 'int8.onnx'?"


def test_interrupted_while_it_is_timed_a_run_keeps_what_was_finished(tmp_path: Path) -> None:
    workers = FakeWorkers(
        {
            "fp32.onnx": Script(logits=_logits(), dies={2: KeyboardInterrupt()}),
            "int8.onnx": Script(logits=_logits(), dies={2: KeyboardInterrupt()}),
        }
    )
    report = run(_bundle(tmp_path, FP32, INT8), SETTINGS, bench=_bench(workers))
    assert not report.complete
    assert [len(found.latency.processes) for found in report.artifacts if found.latency] == [2, 2]
    assert _codes(report, "int8.onnx") == [("few-processes", "invalid")]
    assert read(codec.write_json(report), "report.json") == report


def test_interrupted_while_it_answers_a_run_lists_what_was_not_measured(tmp_path: Path) -> None:
    scripts = {
        "fp32.onnx": Script(logits=_logits()),
        "int8.onnx": Script(logits=_logits(), refuses=KeyboardInterrupt()),
    }
    workers = FakeWorkers(scripts)
    report = run(_bundle(tmp_path, FP32, INT8), SETTINGS, bench=_bench(workers))
    assert not report.complete
    assert report.artifacts[0].accuracy is not None
    assert _codes(report, "fp32.onnx") == _codes(report, "int8.onnx") == [("interrupted", "note")]


CUDA = bundles.artifact("fp16", device="cuda")


def test_a_cuda_artifact_without_cuda_is_listed(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32, CUDA), SETTINGS, bench=_bench(workers))
    assert _codes(report, "fp16.onnx") == [("no-cuda", "note")]


def test_on_the_host_a_cpu_answers_in_the_place_of_cuda_and_is_not_timed(tmp_path: Path) -> None:
    target = replace(bundles.TARGET, name="cuda", device="cuda")
    workers = FakeWorkers({"fp16.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, CUDA, target=target), SETTINGS, host=Host(packing=PACKING), bench=_bench(workers))
    found = report.artifacts[0]
    assert (found.accuracy is not None, found.latency, found.peak_bytes) == (True, None, None)
    assert found.runtime is not None
    assert (found.runtime.device, workers.answered[0].options.device, workers.timed) == ("cpu", "cpu", [])
    (reason,) = found.reasons
    assert (reason.code, reason.level) == ("no-device", "caveat")
    assert reason.detail == (
        "latency and answers could not be taken on this target's device (cuda), which this machine does not have: "
        "the answers shown are those of this machine's CPU"
    )
    assert (report.bundle_size_bytes, report.packing, report.fastest) == (None, PACKING, None)


def test_where_there_is_cuda_its_artifacts_run_on_it(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp16.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, CUDA), SETTINGS, bench=_bench(workers, _facts(cuda=("NVIDIA Example",))))
    assert (report.fastest, workers.answered[0].options.device) == ("fp16.onnx", "cuda")


def test_a_gpu_that_the_hosts_runtime_could_not_use_is_not_timed(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp16.onnx": Script(logits=_logits())})
    known = Answers(logits=_logits(), runtime=reports.runtime("onnx"))
    host = Host(packing=PACKING, answers={"fp16.onnx": known})
    bench = _bench(workers, _facts(cuda=("NVIDIA Example",)))
    report = run(_bundle(tmp_path, CUDA), SETTINGS, host=host, bench=bench)
    (reason,) = report.artifacts[0].reasons
    assert (reason.code, reason.level, workers.timed) == ("no-device", "caveat", [])
    assert (
        "(cpu), which the runtime here cannot use: the answers shown are those of this machine's CPU" in reason.detail
    )


def test_what_the_record_says_of_the_gpu_stands_in_the_report(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp16.onnx": Script(logits=_logits())})
    facts = replace(_facts(cuda=("NVIDIA Example",)), gpu_unknown="nvidia-ml-py is not installed")
    report = run(_bundle(tmp_path, CUDA), SETTINGS, bench=_bench(workers, facts))
    assert _codes(report, "fp16.onnx") == [("no-nvml", "note")]
    assert verify.contradictions(report) == ()


def test_answers_that_the_host_has_taken_already_are_not_taken_again(tmp_path: Path) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    known = Answers(logits=_logits(), runtime=reports.runtime("onnx"))
    host = Host(packing=PACKING, answers={"fp32.onnx": known})
    report = run(_bundle(tmp_path, FP32), SETTINGS, host=host, bench=_bench(workers))
    assert (workers.answered, len(workers.timed)) == ([], 5)
    assert report.artifacts[0].runtime == known.runtime


def test_a_target_of_another_machine_is_noted_and_its_int8_must_not_saturate(tmp_path: Path) -> None:
    target = replace(bundles.TARGET, name="arm", machine="aarch64")
    workers = FakeWorkers({"int8.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, INT8, target=target), SETTINGS, bench=_bench(workers))
    (reason,) = report.reasons
    assert (reason.code, reason.level) == ("other-machine", "note")
    assert reason.detail == "measured on x86_64, the target is aarch64: latency here says nothing about it"
    assert workers.answered[0].options.exact_int8
    assert report.status == "valid"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"emulated": "a sign"}, ("emulated", "invalid")),
        ({"virtual": "virtual machine (KVM)"}, ("virtual", "caveat")),
        ({"virtual": "container (docker)"}, ("container", "note")),
        ({"governor": "powersave"}, ("governor", "caveat")),
    ],
)
def test_what_the_machine_does_to_latency_is_a_reason(
    tmp_path: Path, changes: dict[str, str], expected: tuple[str, str]
) -> None:
    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    facts = replace(_facts(), **changes)  # type: ignore[arg-type]  # each of them is a string or None
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=_bench(workers, facts))
    assert [(reason.code, reason.level) for reason in report.reasons] == [expected]
    assert report.artifacts[0].accuracy is not None
    assert report.fastest == (None if "emulated" in changes else "fp32.onnx")


@pytest.mark.parametrize(
    ("throttled", "codes"), [((False, True), ["throttled"]), ((True, None), ["throttled"]), ((None, False), [])]
)
def test_a_board_that_is_throttled_before_or_after_voids_the_run(
    tmp_path: Path, throttled: Sequence[bool | None], codes: list[str]
) -> None:
    before, after = throttled
    states = itertools.chain([before], itertools.repeat(after))

    def state() -> DeviceState:
        return replace(reports.state(), throttled=next(states))

    workers = FakeWorkers({"fp32.onnx": Script(logits=_logits())})
    report = run(_bundle(tmp_path, FP32), SETTINGS, bench=replace(_bench(workers), state=state))
    assert [reason.code for reason in report.reasons if reason.level == "invalid"] == codes
    assert report.fastest == (None if codes else "fp32.onnx")


def test_a_bundle_without_the_hosts_logits_of_an_artifact_is_refused(tmp_path: Path) -> None:
    logits = {FP32_REFERENCE: _logits()}
    bundle = bundles.write_bundle(tmp_path / "net.edgepack", {"fp32.onnx": b"x"}, (FP32,), logits=logits, labels=LABELS)
    with pytest.raises(BundleError, match=r"eval/reference\.npz: fp32\.onnx: has the shape \(\), not \(200, 3\)"):
        run(bundle, SETTINGS, bench=_bench(FakeWorkers({})))


def test_a_bundle_with_a_label_of_no_class_is_refused(tmp_path: Path) -> None:
    labels = np.where(np.arange(SAMPLES) == 5, CLASSES, LABELS)
    logits = {FP32_REFERENCE: _logits(), "fp32.onnx": _logits()}
    bundle = bundles.write_bundle(tmp_path / "net.edgepack", {"fp32.onnx": b"x"}, (FP32,), logits=logits, labels=labels)
    with pytest.raises(BundleError, match=r"eval/labels\.npy: 200 labels of 3 classes, and some are of none of them"):
        run(bundle, SETTINGS, bench=_bench(FakeWorkers({})))


def test_a_real_bundle_is_measured_with_real_workers(tmp_path: Path) -> None:
    onnx, torch = bundles.artifact(), bundles.artifact("fp32", "torchscript")
    files = {
        "fp32.onnx": networks.write_onnx(tmp_path / "a.onnx").read_bytes(),
        "fp32.torchscript": networks.write_torchscript(tmp_path / "a.pt").read_bytes(),
    }
    expected = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
    logits = dict.fromkeys((FP32_REFERENCE, *files), expected)
    labels = expected.argmax(axis=1)
    bundle = bundles.write_bundle(tmp_path / "net.edgepack", files, (onnx, torch), logits=logits, labels=labels)
    plan = Plan(processes=5, warmup_s=0, timed_s=0)
    report = run(bundle, Settings(threads=1), bench=Bench(plans={"quick": plan}))
    assert verify.contradictions(report) == ()
    for found in report.artifacts:
        assert found.accuracy is not None
        assert (found.accuracy.top1, found.accuracy.flips) == (1.0, ())
        # How quiet the machine is is its own affair at this moment.
        assert {reason.code for reason in found.reasons} <= {
            "scattered",
            "not_steady",
            "short-calls",
            "steal",
            "major-faults",
            "contended",
        }
        assert found.accuracy.max_abs_difference < 1e-4
        assert found.latency is not None
        assert [len(process.samples_ns) for process in found.latency.processes] == [100] * 5


def test_an_artifact_that_is_in_no_bundle_yet_is_answered(tmp_path: Path) -> None:
    samples = networks.inputs(9)
    inputs = tmp_path / "inputs.npy"
    np.save(inputs, samples)
    location = ArrayLocation(path=inputs, offset=128, shape=samples.shape, dtype="|u1")
    subject = Subject(artifact=FP32, file=networks.write_onnx(tmp_path / "a.onnx"), target=bundles.TARGET)
    given = answers(subject, location, networks.PREPROCESS, SETTINGS.scenario)
    np.testing.assert_allclose(given.logits, networks.expected_logits(samples), rtol=1e-4, atol=1e-4)
    assert (given.runtime.provider, given.runtime.threads) == ("CPUExecutionProvider", 2)
