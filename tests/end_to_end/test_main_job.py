"""The main job as a user does it: pack with the defaults for all three targets, run the bundle, compare."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from runner import report_reader
from runner.bundle import HOST_REPORT, Bundle, open_bundle
from runner.report import Report

BIN = Path(sys.executable).parent
TARGETS = ("arm-qnnpack", "x86", "cuda")


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The bundles of one pack, and what it said."""

    folder: Path
    environment: Mapping[str, str]
    done: Done

    def bundle(self, target: str) -> Bundle:
        return open_bundle(self.folder / f"wide_cnn-{target}.edgepack")

    def host(self, target: str) -> Report:
        found = self.bundle(target).host_report()
        assert found is not None
        return found


def command(*args: str | Path, cwd: Path, environment: Mapping[str, str]) -> Done:
    done = subprocess.run(
        [str(arg) for arg in args], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=500
    )
    return Done(code=done.returncode, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Packed:
    folder = tmp_path_factory.mktemp("main-job")
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
    targets = [word for target in TARGETS for word in ("--target", target)]
    done = command(BIN / "pack", *targets, "-o", "out", cwd=folder, environment=environment)
    assert done.code == 0, done.stderr
    return Packed(folder=folder / "out", environment=environment, done=done)


@pytest.fixture(scope="module")
def measured(packed: Packed) -> Path:
    """The report that the ARM bundle makes of itself on this machine, which is not the target's."""
    done = command(
        BIN / "bench-runner",
        "wide_cnn-arm-qnnpack.edgepack",
        "-o",
        "device.json",
        cwd=packed.folder,
        environment=packed.environment,
    )
    assert done.code == 0, done.stderr
    return packed.folder / "device.json"


def test_stdout_holds_the_paths_of_the_bundles_and_nothing_else(packed: Packed) -> None:
    assert packed.done.stdout == "".join(f"out/wide_cnn-{target}.edgepack\n" for target in TARGETS)
    assert sorted(path.name for path in packed.folder.iterdir()) == sorted(
        f"wide_cnn-{target}.edgepack" for target in TARGETS
    )


def test_the_targets_share_one_training(packed: Packed) -> None:
    assert len(re.findall(r"^train +[0-9.]+ s  ", packed.done.stderr, re.MULTILINE)) == 1
    for target in TARGETS:
        packing = packed.host(target).packing
        assert packing is not None
        assert [epoch.stage for epoch in packing.epochs] == ["train"] * 8 + ["prune"] * 2
        assert packing.epochs[0].train_loss > packing.epochs[7].train_loss


def test_fp32_is_as_accurate_as_promised_and_int8_within_a_point_at_two_fifths_of_the_size(packed: Packed) -> None:
    host = packed.host("arm-qnnpack")
    fp32, int8 = host.artifact("fp32.onnx"), host.artifact("int8.onnx")
    assert fp32 is not None
    assert int8 is not None
    assert fp32.accuracy is not None
    assert int8.accuracy is not None
    assert fp32.accuracy.samples == 2000
    assert fp32.accuracy.top1 >= 0.89
    assert int8.accuracy.top1 >= fp32.accuracy.top1 - 0.01
    assert int8.size_bytes <= 0.40 * fp32.size_bytes
    assert int8.latency is not None
    assert len(int8.latency.processes) == 5


def test_half_of_the_weights_are_zero(packed: Packed) -> None:
    bundle = packed.bundle("arm-qnnpack")
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(bundle.read("artifacts/fp32.onnx"))
    hidden = next(onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer if 512 in tensor.dims[:1])
    assert np.mean(hidden == 0) == pytest.approx(0.5, abs=0.001)


def test_what_pruning_brought_is_told_beside_the_network_before_it(packed: Packed) -> None:
    host = packed.host("arm-qnnpack")
    pruned, unpruned = host.artifact("fp32.onnx"), host.artifact("unpruned-fp32.onnx")
    assert pruned is not None
    assert unpruned is not None
    assert abs(pruned.size_bytes - unpruned.size_bytes) < 0.01 * unpruned.size_bytes
    assert host.packing is not None
    own, before = host.packing.networks
    assert (own.name, before.name) == ("", "unpruned")
    assert (own.parameters, own.macs) == (before.parameters, before.macs)
    assert own.nonzero / before.nonzero == pytest.approx(0.5, abs=0.01)
    assert host.packing.left_out == packed.bundle("arm-qnnpack").manifest.left_out == ()
    assert packed.done.stderr.count("\nnetwork, fp32") == len(TARGETS)


def test_a_cuda_bundle_from_a_host_without_cuda_says_what_could_not_be_taken(packed: Packed) -> None:
    host = packed.host("cuda")
    if host.device.cuda:
        pytest.skip("this machine has a CUDA device")
    assert [artifact.name for artifact in host.artifacts] == [
        "fp32.onnx",
        "fp16.onnx",
        "fp32.torchscript",
        "fp16.torchscript",
        "unpruned-fp32.onnx",
    ]
    for artifact in host.artifacts:
        assert artifact.latency is None
        assert [reason.code for reason in artifact.reasons] == ["no-device"]
        assert "latency and answers could not be taken on this target's device" in artifact.reasons[0].detail
    assert host.fastest is None


def test_the_engine_of_each_target_stands_in_its_manifest(packed: Packed) -> None:
    arm = packed.bundle("arm-qnnpack").manifest.artifact("int8.torchscript")
    x86 = packed.bundle("x86").manifest.artifact("int8.torchscript")
    assert arm is not None
    assert x86 is not None
    assert (arm.engine, arm.machines) == ("qnnpack", ())
    assert (x86.engine, x86.machines) == ("x86", ("x86_64",))


def test_a_bundle_does_not_name_the_machine_that_made_it(packed: Packed) -> None:
    bundle = packed.bundle("x86")
    content = bundle.path.read_bytes()
    assert str(packed.folder).encode() not in content
    assert str(Path(__file__).parent.parent.parent).encode() not in content
    assert sys.prefix.encode() not in content


def test_packing_again_gives_the_same_bytes_in_every_entry_but_the_host_report(packed: Packed, tmp_path: Path) -> None:
    done = command(BIN / "pack", "--target", "cuda", "-o", tmp_path, cwd=packed.folder, environment=packed.environment)
    assert done.code == 0, done.stderr
    first, second = packed.bundle("cuda"), open_bundle(tmp_path / "wide_cnn-cuda.edgepack")
    assert first.id == second.id
    assert first.ranges.keys() == second.ranges.keys()
    for entry in first.ranges.keys() - {HOST_REPORT}:
        assert first.read(entry) == second.read(entry), entry
    assert re.search(r"^train +as before ", done.stderr, re.MULTILINE)


def test_the_runner_measures_the_bundle_and_its_report_holds(packed: Packed, measured: Path) -> None:
    found = report_reader.load(measured)
    assert found.bundle_id == packed.bundle("arm-qnnpack").id
    assert [artifact.name for artifact in found.artifacts] == [
        "fp32.onnx",
        "int8.onnx",
        "int8.torchscript",
        "unpruned-fp32.onnx",
    ]
    for artifact in found.artifacts:
        assert artifact.accuracy is not None
        assert artifact.accuracy.identical_to_host
        assert artifact.latency is not None
    done = command(BIN / "bench-runner", "verify", measured, cwd=packed.folder, environment=packed.environment)
    assert (done.code, done.stderr) == (0, "")


def test_host_and_device_compare(packed: Packed, measured: Path) -> None:
    compare = (BIN / "bench-runner", "compare", "wide_cnn-arm-qnnpack.edgepack", measured)
    done = command(*compare, "--max-accuracy-drop", "0.5%", cwd=packed.folder, environment=packed.environment)
    assert (done.code, done.stderr) == (0, "")
    document = json.loads(command(*compare, "--json", cwd=packed.folder, environment=packed.environment).stdout)
    assert document["bundle_id"] == packed.bundle("arm-qnnpack").id
    other = command(
        BIN / "bench-runner",
        "compare",
        "wide_cnn-x86.edgepack",
        measured,
        cwd=packed.folder,
        environment=packed.environment,
    )
    # Two bundles of one network and one evaluation set: what they share can be compared, and that they are two is told.
    assert (other.code, other.stderr) == (0, "")
    assert "two bundles: wide_cnn-x86 " in other.stdout


def test_a_bundle_runs_by_itself_where_only_numpy_and_one_runtime_are(packed: Packed, tmp_path: Path) -> None:
    for name in ("numpy", "numpy.libs", "onnxruntime", "flatbuffers", "google", "packaging"):
        installed = Path(np.__file__).parent.parent / name
        if installed.exists():
            (tmp_path / name).symlink_to(installed)
    bundle = shutil.copy(packed.folder / "wide_cnn-arm-qnnpack.edgepack", tmp_path / "net.edgepack")
    environment = {"PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    # -S: no site-packages, so that nothing of ours and nothing of the host's can be found but what is linked above.
    done = command(
        sys.executable,
        "-S",
        bundle,
        "-o",
        "report.json",
        "--artifact",
        "int8.onnx",
        cwd=tmp_path,
        environment=environment,
    )
    assert done.code == 0, done.stderr
    found = report_reader.load(tmp_path / "report.json")
    assert found.fastest == "int8.onnx"
    missing = command(
        sys.executable, "-S", bundle, "--artifact", "int8.torchscript", cwd=tmp_path, environment=environment
    )
    assert missing.code == 4
    assert "torch is not installed here" in missing.stderr
