"""The runner is asked what an artifact answers, on the GPU or on the CPU in its place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from packager.artifacts import Built
from packager.asking import ask, subject
from packager.evaluation import Questions
from runner import device
from runner.errors import StepError
from runner.report import Settings
from tests import bundles, networks, reports
from tests.fakes import RecordingProgress

SETTINGS = Settings(threads=1)
CUDA = bundles.artifact(device="cuda")


@pytest.fixture
def questions(tmp_path: Path) -> Questions:
    """Nine images."""
    samples = networks.inputs(9)
    np.save(tmp_path / "inputs.npy", samples)
    return Questions(inputs=tmp_path / "inputs.npy", labels=np.zeros(9, np.int64), preprocess=networks.PREPROCESS)


def built(folder: Path) -> Built:
    """Return a real network in a file, made for CUDA."""
    return Built(artifact=CUDA, file=networks.write_onnx(folder / "net.onnx"), cached=False)


@pytest.mark.parametrize(("cuda", "stand_in"), [((), True), (("Example GPU",), False)])
def test_the_cpu_stands_in_where_there_is_no_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cuda: tuple[str, ...], stand_in: bool
) -> None:
    monkeypatch.setattr(device, "facts", lambda: replace(reports.device(), cuda=cuda))
    assert subject(built(tmp_path), bundles.TARGET).stand_in is stand_in


@pytest.mark.skipif("CUDAExecutionProvider" in onnxruntime.get_available_providers(), reason="has CUDA")
def test_a_gpu_that_no_runtime_here_can_use_leaves_the_answers_to_the_cpu_and_says_so(
    tmp_path: Path, questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "facts", lambda: replace(reports.device(), cuda=("Example GPU",)))
    progress = RecordingProgress()
    found = ask(subject(built(tmp_path), bundles.TARGET), questions, SETTINGS, progress)
    np.testing.assert_allclose(found.logits, networks.expected_logits(networks.inputs(9)), rtol=1e-4, atol=1e-4)
    assert (found.runtime.device, found.runtime.provider) == ("cpu", "CPUExecutionProvider")
    assert progress.said == [
        f"fp32.onnx: this ONNX Runtime ({onnxruntime.__version__}) has no working CUDAExecutionProvider: this "
        "machine's CPU answers in its place; try: pip install onnxruntime-gpu, and see that CUDA and cuDNN can be found"
    ]


def test_a_file_that_nothing_can_run_is_a_failed_step(tmp_path: Path, questions: Questions) -> None:
    path = tmp_path / "net.onnx"
    broken = replace(subject(built(tmp_path), bundles.TARGET), stand_in=True)
    path.write_bytes(b"no network")
    with pytest.raises(StepError, match=r"^fp32\.onnx cannot be run: ONNX Runtime .* cannot load it: "):
        ask(broken, questions, SETTINGS, RecordingProgress())
