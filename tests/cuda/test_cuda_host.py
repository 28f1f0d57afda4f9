"""The third kind of machine, a host with a GPU: packed, run and judged there by real runtimes and a real driver.

Run by `make test-cuda`, and skipped with its reason where there is no GPU. Those of ONNX need onnxruntime-gpu.
"""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from packager.data import embedded
from runner import report_reader, verify
from runner.device.cuda import cuda_devices
from runner.errors import MeasurementError
from runner.report import ArtifactReport, Report
from runner.runtimes import Options, onnx, torchscript
from tests import networks

ROOT = Path(__file__).parent.parent.parent
TORCH, ONNX = ("fp32.torchscript", "fp16.torchscript"), ("fp32.onnx", "fp16.onnx")
ROUNDED = {"fp32": 1e-4, "fp16": 2e-2}
"""How far logits may be from those of the host's CPU, as a share of the largest."""


def obstacle() -> str:
    """Return why nothing here can run on a GPU, or nothing."""
    if not cuda_devices(Path("/")):
        return "no CUDA device here"
    return "" if torch.cuda.is_available() else f"torch {torch.__version__} cannot use the CUDA device that is here"


WHY = obstacle()
NO_ONNX = "" if "CUDAExecutionProvider" in onnxruntime.get_available_providers() else "onnxruntime-gpu is not installed"
NO_NVML = "" if importlib.util.find_spec("pynvml") else "nvidia-ml-py is not installed"
pytestmark = [pytest.mark.cuda, pytest.mark.skipif(bool(WHY), reason=WHY), pytest.mark.timeout(1200)]
needs_onnx = pytest.mark.skipif(bool(NO_ONNX), reason=NO_ONNX)
needs_nvml = pytest.mark.skipif(bool(NO_NVML), reason=NO_NVML)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A bundle, and the report that it made of itself here."""

    bundle: Path
    report: Report

    def artifact(self, name: str) -> ArtifactReport:
        found = self.report.artifact(name)
        assert found is not None
        return found


def edgepack(command: str, *args: str | Path, folder: Path) -> str:
    """Run one of the two commands, and return what it has printed; a time that is not valid is none of its faults."""
    program = f"import sys; from edgepack import {command} as main; sys.exit(main())"
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "PYTHONPATH": path}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, args)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=1000,
    )
    assert done.returncode in {0, MeasurementError.exit_code}, done.stderr
    return done.stdout


def few_images(path: Path) -> Path:
    """Write 400 + 100 images of four classes."""
    dataset = embedded.read()
    assert dataset.test is not None
    arrays = {}
    for part, samples, count in (("train", dataset.train, 100), ("test", dataset.test, 25)):
        chosen = np.concatenate([np.flatnonzero(samples.labels == label)[:count] for label in range(4)])
        arrays[f"x_{part}"], arrays[f"y_{part}"] = samples.take(chosen)[:, 0], samples.labels[chosen]
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the arrays for its options
    return path


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """A tiny network for the target `cuda`, packed and then measured on this machine's GPU."""
    folder = tmp_path_factory.mktemp("cuda")
    data = few_images(folder / "few.npz")
    job = ("--target", "cuda", "--model", "small_cnn", "--data", data, "--epochs", "1", "--effort", "quick")
    bundle = Path(edgepack("pack", *job, "-o", "out", folder=folder).splitlines()[-1])
    edgepack("bench_runner", folder / bundle, "-o", "report.json", folder=folder)
    return Measured(bundle=folder / bundle, report=report_reader.load(folder / "report.json"))


@pytest.mark.parametrize("name", [*TORCH, *(pytest.param(name, marks=needs_onnx) for name in ONNX)])
def test_every_artifact_ran_on_the_gpu_and_answers_as_the_hosts_fp32_model(measured: Measured, name: str) -> None:
    found = measured.artifact(name)
    assert found.runtime is not None
    assert (found.runtime.device, "cpu" in found.runtime.provider.lower()) == ("cuda", False)
    assert found.accuracy is not None
    assert found.accuracy.agreement >= 0.98
    assert found.accuracy.snr_db is None or found.accuracy.snr_db > {"fp32": 90, "fp16": 40}[found.precision]
    assert len(found.accuracy.flips) <= 1
    assert found.latency is not None
    assert found.latency.failures == ()


@pytest.mark.parametrize("name", TORCH)
def test_the_event_time_is_part_of_the_wall_time(measured: Measured, name: str) -> None:
    latency = measured.artifact(name).latency
    assert latency is not None
    assert latency.device_ns is not None
    assert 0 < latency.device_ns <= latency.median_ns
    for process in latency.processes:
        assert len(process.device_ns) == 100
        assert min(process.device_ns) > 0


@needs_onnx
@pytest.mark.parametrize("name", ONNX)
def test_onnx_runtime_has_no_events_and_tells_where_its_nodes_are(measured: Measured, name: str) -> None:
    found = measured.artifact(name)
    assert found.latency is not None
    assert found.latency.device_ns is None
    assert found.runtime is not None
    assert found.runtime.nodes is None or found.runtime.nodes > 0
    assert found.runtime.cpu_nodes == ()


@pytest.mark.parametrize("name", TORCH)
def test_the_runtime_tells_what_it_took_of_the_gpus_memory(measured: Measured, name: str) -> None:
    latency = measured.artifact(name).latency
    assert latency is not None
    for process in latency.processes:
        assert process.gpu_allocated_bytes is not None
        assert process.gpu_reserved_bytes is not None
        assert 0 < process.gpu_allocated_bytes <= process.gpu_reserved_bytes


@needs_nvml
def test_the_facts_of_the_gpu_are_those_that_the_runtime_sees(measured: Measured) -> None:
    gpu = measured.report.device.gpu
    assert gpu is not None, measured.report.device.gpu_unknown
    seen = torch.cuda.get_device_properties(0)
    assert (gpu.name, gpu.compute_capability) == (seen.name, f"{seen.major}.{seen.minor}")
    assert str(seen.uuid) in (gpu.uuid or "") or gpu.mig
    assert gpu.memory_bytes is not None
    assert gpu.memory_bytes >= seen.total_memory or gpu.mig
    assert gpu.driver
    assert gpu.pci_bus_id
    assert measured.report.device.cuda[0] == seen.name


@needs_nvml
@pytest.mark.parametrize("name", TORCH)
def test_the_gpu_was_watched_while_it_was_timed(measured: Measured, name: str) -> None:
    latency = measured.artifact(name).latency
    assert latency is not None
    samples = [each.gpu for process in latency.processes for each in process.machine]
    assert len(samples) >= 2 * len(latency.processes)
    for gpu in samples:
        assert gpu is not None
        assert gpu.event_reasons is not None
    clocks = [gpu.sm_mhz for gpu in samples if gpu and gpu.sm_mhz]
    limit = measured.report.device.gpu.max_sm_mhz if measured.report.device.gpu else None
    assert clocks
    assert limit is None or max(clocks) <= limit
    assert any(gpu.temperature_c and 0 < gpu.temperature_c < 120 for gpu in samples if gpu)
    assert any(gpu.used_bytes for gpu in samples if gpu)


def test_every_reason_follows_from_the_record(measured: Measured) -> None:
    assert verify.contradictions(measured.report) == ()
    codes = {reason.code for artifact in measured.report.artifacts for reason in artifact.reasons}
    assert "no-device" not in codes
    assert ("no-nvml" in codes) == bool(measured.report.device.gpu_unknown)


def test_the_page_has_event_and_wall_time_and_what_the_gpu_did(measured: Measured) -> None:
    folder = measured.bundle.parent
    text = edgepack("bench_runner", measured.bundle, "--artifact", "fp32.torchscript", "-o", "one.json", folder=folder)
    assert "accelerator" in text
    assert "tensors" in text
    shown = json.loads(edgepack("bench_runner", "device", "--json", folder=folder))
    assert shown["facts"]["cuda"] == list(measured.report.device.cuda)


def test_a_torchscript_file_on_the_gpu_answers_as_numpy_computes(tmp_path: Path) -> None:
    inputs, expected = networks.PREPROCESS.apply(networks.inputs(5)), networks.expected_logits(networks.inputs(5))
    path = networks.write_torchscript(tmp_path / "net.pt")
    session = torchscript.load(path, Options(threads=1, device="cuda"))
    np.testing.assert_allclose(session.run(inputs), expected, rtol=1e-4, atol=1e-4)
    assert session.provider == "torch cuda"
    assert (session.device_ns(inputs) or 0) > 0
    memory = session.device_memory()
    assert memory is not None
    assert memory.reserved_bytes >= memory.allocated_bytes > 0


@needs_onnx
def test_an_onnx_file_on_the_gpu_answers_as_numpy_computes(tmp_path: Path) -> None:
    inputs, expected = networks.PREPROCESS.apply(networks.inputs(5)), networks.expected_logits(networks.inputs(5))
    path = networks.write_onnx(tmp_path / "net.onnx")
    session = onnx.load(path, Options(threads=1, device="cuda"))
    np.testing.assert_allclose(session.run(inputs), expected, rtol=1e-4, atol=1e-4)
    assert session.provider == "CUDAExecutionProvider"
    placement = session.placement()
    assert placement is None or placement.elsewhere == ()
