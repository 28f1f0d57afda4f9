"""`runner.load` returns what runs here and is right; what is missing or wrong gives way, and the choice says why."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runner
from runner import codec, device
from runner.bundle import Bundle
from runner.device import topology
from runner.errors import BundleError, MeasurementError, RuntimeUnavailable, UsageError
from runner.facts import DeviceFacts
from runner.loading import first_that_holds, proven
from runner.loading.classifier import Classifier
from runner.loading.preference import Preference
from runner.loading.ranking import Candidate
from runner.runtimes import KNOWN, Options
from tests import bundles, loadable, networks, reports

IMAGES = networks.inputs(loadable.SAMPLES)
REVERSED = np.ascontiguousarray(loadable.LOGITS[:, ::-1])
NO_TORCH = reports.device()
"""This machine as if torch were not installed."""


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return loadable.write(tmp_path)


def with_engines(facts: DeviceFacts) -> DeviceFacts:
    """Return the facts of a machine that has every runtime."""
    return replace(facts, runtimes=tuple(replace(each, version="1.0") for each in facts.runtimes))


def loaded(bundle: Bundle, wanted: Preference | None = None, facts: DeviceFacts = NO_TORCH) -> Classifier:
    return first_that_holds(bundle, wanted or Preference(), 1, facts)


def test_the_fastest_on_the_host_is_loaded(bundle: Bundle) -> None:
    host = loadable.measured(
        bundle, {"fp32.onnx": 100, "int8.torchscript": 60}, fastest="int8.torchscript", device=device.facts()
    )
    loadable.with_report(bundle, host)
    with runner.load(bundle.path) as network:
        assert str(network.choice) == "int8.torchscript: the fastest in the host's report"
        assert network.choice.threads == topology.default_threads()
        np.testing.assert_allclose(network(IMAGES), loadable.LOGITS, rtol=1e-4, atol=1e-4)


def test_an_artifact_is_loaded_by_its_name_and_with_as_many_threads_as_asked_for(bundle: Bundle) -> None:
    with runner.load(str(bundle.path), prefer="fp32.onnx", threads=3) as network:
        assert (network.choice.name, network.choice.threads) == ("fp32.onnx", 3)
        assert network.choice.reason == "preferred by its name"


def test_the_choice_of_a_report_is_loaded_with_its_threads(bundle: Bundle, tmp_path: Path) -> None:
    found = loadable.measured(
        bundle, {"fp32.onnx": 50, "int8.torchscript": 60}, fastest="fp32.onnx", device=device.facts(), threads=1
    )
    file = tmp_path / "own.json"
    file.write_text(codec.write_json(found), encoding="utf-8")
    for prefer in (found, file, str(file)):
        with runner.load(bundle.path, prefer=prefer) as network:
            assert (network.choice.name, network.choice.threads) == ("fp32.onnx", 1)
    assert network.choice.reason == f"the fastest in {file}"
    with runner.load(bundle.path, prefer=found, threads=2) as network:
        assert (network.choice.reason, network.choice.threads) == ("the fastest in the report", 2)


def test_where_its_runtime_is_missing_the_next_is_loaded_and_the_choice_says_so(bundle: Bundle) -> None:
    host = loadable.measured(bundle, {"fp32.onnx": 100, "int8.torchscript": 60}, fastest="int8.torchscript")
    found = loaded(loadable.with_report(bundle, host)).choice
    assert str(found) == (
        "fp32.onnx: the next by latency in the host's report"
        "\n  passed over int8.torchscript: torch is not installed here"
    )


def test_what_answers_otherwise_than_on_the_host_is_passed_over(tmp_path: Path) -> None:
    odd = bundles.artifact("int8")
    bundle = loadable.write(tmp_path, (odd, loadable.FP32), host={"int8.onnx": REVERSED})
    found = loaded(bundle, Preference(name="int8.onnx")).choice
    assert found.name == "fp32.onnx"
    (passed,) = found.passed_over
    assert passed.line.startswith("int8.onnx: answers ")
    assert "of 8 samples otherwise than on the host, signal to noise" in passed.line


def test_a_file_that_this_runtime_cannot_read_is_passed_over_and_the_version_that_can_is_told(bundle: Bundle) -> None:
    made_with = {"torch": "1.2.0", "onnxruntime-gpu": "99.1.0"}
    broken = replace(loadable.FP32, name="broken.onnx", path=loadable.INT8.path, made_with=made_with)
    found = loaded(replace(bundle, manifest=replace(bundle.manifest, artifacts=(broken, loadable.FP32))))
    (passed,) = found.choice.passed_over
    assert passed.line.startswith("broken.onnx: ONNX Runtime ")
    assert " cannot load it: " in passed.line
    assert passed.error.advice == (
        f"onnxruntime 99.1.0, which it was made with, or later: {sys.executable} -m pip install 'onnxruntime>=99.1.0'"
    )


def test_a_runtime_that_fails_as_it_likes_is_passed_over(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, options: Options) -> None:
        raise KeyError(f"{path.name} with {options.threads}")

    monkeypatch.setattr("runner.runtimes.torchscript.load", fail)
    facts = with_engines(NO_TORCH)
    known = loadable.measured(bundle, {"int8.torchscript": 60}, fastest="int8.torchscript", device=facts)
    found = loaded(bundle, Preference(report=known, source="report.json"), facts).choice
    assert [each.line for each in found.passed_over] == [
        "int8.torchscript: its runtime fails here: KeyError: 'int8.torchscript with 1'"
    ]


def test_where_no_runtime_is_there_the_command_that_installs_one_is_told(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {name: replace(each, package=f"no_such_{name}") for name, each in KNOWN.items()}
    monkeypatch.setattr("runner.runtimes.KNOWN", known)
    monkeypatch.setattr("runner.device.KNOWN", known)
    with pytest.raises(RuntimeUnavailable) as caught:
        runner.load(bundle.path)
    assert str(caught.value).startswith(
        f"{bundle.path}: nothing here can run any of the artifacts: fp32.onnx: no_such_onnx is not installed "
        "here; int8.torchscript: no_such_torchscript is not installed here\n  try: "
    )
    assert "pip install" in caught.value.advice


def test_an_artifact_of_another_machine_is_passed_over(bundle: Bundle) -> None:
    arm = replace(loadable.INT8, machines=("aarch64",))
    found = loaded(
        replace(bundle, manifest=replace(bundle.manifest, artifacts=(arm, loadable.FP32))),
        Preference(name=arm.name),
        with_engines(NO_TORCH),
    )
    assert [each.line for each in found.choice.passed_over] == [
        "int8.torchscript: runs on aarch64, and this machine is x86_64"
    ]


def test_where_all_that_runs_is_wrong_nothing_is_loaded(tmp_path: Path) -> None:
    bundle = loadable.write(tmp_path, host={"fp32.onnx": REVERSED})
    with pytest.raises(MeasurementError) as caught:
        loaded(bundle)
    first, second = caught.value.what.split("; ")
    assert first.startswith("no artifact that runs here answers as it did on the host: fp32.onnx: answers ")
    assert second == "int8.torchscript: torch is not installed here"


def test_an_artifact_for_arm_is_run_as_arm_computes(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Options] = []

    def load(path: Path, options: Options) -> None:
        seen.append(options)
        raise RuntimeUnavailable(path.name)

    monkeypatch.setattr("runner.runtimes.torchscript.load", load)
    arm = replace(bundle.manifest, target=replace(bundle.manifest.target, machine="aarch64"))
    candidate = Candidate(artifact=replace(loadable.INT8, engine="qnnpack"), reason="it is", ran_here=True)
    for manifest in (bundle.manifest, arm):
        with pytest.raises(RuntimeUnavailable):
            proven(replace(bundle, manifest=manifest), candidate, 2)
    assert seen == [Options(threads=2, engine="qnnpack", exact_int8=exact) for exact in (False, True)]


def test_nothing_is_left_in_the_folder_of_temporary_files(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with runner.load(bundle.path, prefer="int8.torchscript") as network:
        assert list(folder.iterdir()) == []
        np.testing.assert_allclose(network(IMAGES), loadable.LOGITS, rtol=1e-4, atol=1e-4)


def test_what_is_no_bundle_and_no_number_of_threads_is_told(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="cannot be read: No such file or directory"):
        runner.load(tmp_path / "none.edgepack")
    with pytest.raises(UsageError, match="threads: expected 1 or more, got 0"):
        runner.load(bundle.path, threads=0)


def test_a_bundle_that_was_damaged_is_never_loaded(bundle: Bundle) -> None:
    data = bytearray(bundle.path.read_bytes())
    data[bundle.ranges[loadable.FP32.path].offset + 40] ^= 1
    bundle.path.write_bytes(data)
    with pytest.raises(BundleError, match=r"artifacts/fp32\.onnx: its bytes are not those that were packed"):
        runner.load(bundle.path)
