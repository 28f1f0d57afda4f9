"""An artifact that kills its process never does so to a program that loads a bundle."""

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import runner
from runner import codec, device, workers
from runner.bundle import FP32_REFERENCE, Bundle
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.facts import DeviceFacts
from runner.loading.preference import Preference
from runner.loading.ranking import ranking
from runner.loading.trial import outlive
from runner.runtimes import Options
from tests import bundles, loadable, networks, reports

ROOT = Path(__file__).parent.parent.parent.parent
DEADLY = bundles.artifact("int8", "torchscript")
KILLED = "int8.torchscript: tried in a process of its own: the worker was ended by SIGSEGV"
DYING = """
import os, signal
os.kill(os.getpid(), signal.{name})
"""
"""A worker that is killed by whatever it is told to do."""
LOADING = """
import sys
import runner
with runner.load(sys.argv[1], prefer="int8.torchscript", threads=1) as network:
    print(network.choice)
"""


class Outside(torch.nn.Module):
    """Writes where no memory of its process is: what PyTorch does not look after in this operator."""

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        """Return the logits, if ever."""
        place = (samples.flatten()[:1] * 0).long().reshape(1, 1) + (1 << 40)
        logits: torch.Tensor = torch.ops.aten._sparse_coo_tensor_unsafe(
            place, torch.ones(1), [3], is_coalesced=True
        ).to_dense()
        return logits.repeat(samples.size(0), 1)


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Return a bundle of fp32.onnx, and of an artifact that kills the process in which it is run."""
    folder = tmp_path_factory.mktemp("deadly")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(Outside()).save(str(folder / "net.pt"))  # type: ignore[no-untyped-call]
    files = {loadable.FP32.name: loadable.network("onnx"), DEADLY.name: (folder / "net.pt").read_bytes()}
    return bundles.write_bundle(
        folder / "net.edgepack",
        files,
        (loadable.FP32, DEADLY),
        logits=dict.fromkeys((FP32_REFERENCE, *files), loadable.LOGITS),
        labels=np.asarray(loadable.LOGITS.argmax(axis=1), np.int64),
    )


def test_an_artifact_that_kills_its_process_is_passed_over_with_the_signal(deadly: Bundle) -> None:
    # In a process of its own: were it loaded there all the same, this test would end with it.
    command = [sys.executable, "-c", LOADING, str(deadly.path)]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
    first, *passed_over = ended.stdout.splitlines()
    assert first.startswith("fp32.onnx: by rule, ")
    assert passed_over[0] == f"  passed over {KILLED}"


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("SIGILL", "this build of the runtime uses instructions that the CPU does not have: install an older one"),
        ("SIGKILL", "the system most likely ran out of memory: fewer --threads, or a smaller model"),
    ],
)
def test_how_a_process_died_is_told_with_what_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, advice: str
) -> None:
    bundle = loadable.write(tmp_path, (loadable.FP32,))
    monkeypatch.setattr(workers, "START", DYING.replace("{name}", name))
    with pytest.raises(MeasurementError) as caught:
        runner.load(bundle.path)
    assert caught.value.what == (
        "no artifact that runs here answers as it did on the host: "
        f"fp32.onnx: tried in a process of its own: the worker was ended by {name}"
    )
    assert caught.value.advice == advice


def test_what_a_report_of_this_machine_has_timed_is_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = loadable.write(tmp_path, (loadable.FP32,))
    found = loadable.measured(bundle, {"fp32.onnx": 50}, fastest="fp32.onnx", device=device.facts())
    file = tmp_path / "report.json"
    file.write_text(codec.write_json(found), encoding="utf-8")
    monkeypatch.setattr(workers, "START", DYING.replace("{name}", "SIGILL"))
    with runner.load(bundle.path, prefer=file) as network:
        assert network.choice.name == "fp32.onnx"
    loadable.with_report(bundle, found)
    with runner.load(bundle.path, prefer="fp32.onnx") as network:
        assert network.choice.reason == "preferred by its name"


HERE = reports.device()


@pytest.mark.parametrize(
    "measured_on",
    [
        reports.device("Other CPU"),
        replace(HERE, features=("avx2",)),
        replace(HERE, runtimes=tuple(replace(each, version="0.1") for each in HERE.runtimes)),
    ],
    ids=["another CPU", "fewer instructions", "another version of the runtime"],
)
def test_a_report_of_another_machine_or_runtime_does_not_spare_the_trial(
    tmp_path: Path, measured_on: DeviceFacts
) -> None:
    bundle = loadable.write(tmp_path, (loadable.FP32,))
    for device_facts, spared in ((measured_on, False), (HERE, True)):
        found = loadable.measured(bundle, {"fp32.onnx": 50}, fastest="fp32.onnx", device=device_facts)
        (candidate,) = ranking(bundle, Preference(report=found, source="report.json"), HERE)
        assert candidate.ran_here is spared


def test_what_was_not_timed_in_a_report_of_this_machine_is_tried(tmp_path: Path) -> None:
    bundle = loadable.write(tmp_path)
    found = loadable.measured(bundle, {"fp32.onnx": 50, "int8.torchscript": 60}, fastest="fp32.onnx")
    died = replace(found.artifacts[1], latency=None)
    some = replace(found, artifacts=(found.artifacts[0], died))
    tried = {each.artifact.name: each.ran_here for each in ranking(bundle, Preference(report=some), HERE)}
    assert tried == {"fp32.onnx": True, "int8.torchscript": False}


def test_where_no_process_can_be_started_that_is_told_with_the_way_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = loadable.write(tmp_path, (loadable.FP32,))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    with pytest.raises(RuntimeUnavailable) as caught:
        outlive(bundle, loadable.FP32, networks.write_onnx(tmp_path / "net.onnx"), Options(threads=1))
    assert caught.value.what == "no process can be started to try it in: No such file or directory"
    assert caught.value.advice == f"bench-runner {bundle.path} -o report.json, and prefer='report.json'"
