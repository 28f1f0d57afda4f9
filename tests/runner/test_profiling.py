"""The runtimes' own profilers, on real files and in real workers."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from runner import workers
from runner.arrays import ArrayLocation
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.manifest import Format
from runner.operators import OperatorTime
from runner.runtimes import Options, Profiling, Runtime, onnx, torchscript
from runner.worker.order import Job, Order, Timing, decode, encode
from runner.workers import WORKERS
from tests import networks

SAMPLES = networks.inputs(5)
INPUTS = networks.PREPROCESS.apply(SAMPLES)
OPTIONS = Options(threads=1)


def _profiling(folder: Path, *, warmups: int = 2, counted: int = 6) -> Profiling:
    batches = [INPUTS[index % 5 : index % 5 + 1] for index in range(warmups + counted)]
    return Profiling(inputs=batches, warmups=warmups, folder=folder)


def _types(operators: tuple[OperatorTime, ...]) -> set[str]:
    return {operator.op_type for operator in operators}


def test_each_node_of_an_onnx_file_has_its_time_in_one_inference(tmp_path: Path) -> None:
    path = networks.write_onnx(tmp_path / "net.onnx")
    found = onnx.profile(path, OPTIONS, _profiling(tmp_path))
    # ONNX Runtime melts the ReLU into the convolution, and may put the layout back behind it.
    assert {"Conv", "Flatten", "Gemm"} <= _types(found) <= {"Conv", "ReorderOutput", "Flatten", "Gemm"}
    assert {operator.calls for operator in found} == {1.0}
    assert not any("_kernel_time" in operator.name for operator in found)
    assert [operator.mean_ns for operator in found] == sorted((it.mean_ns for it in found), reverse=True)
    assert sum(operator.share for operator in found) == pytest.approx(1)


def test_each_operator_that_a_torchscript_file_calls_has_its_time_in_one_inference(tmp_path: Path) -> None:
    path = networks.write_torchscript(tmp_path / "net.pt")
    found = torchscript.profile(path, OPTIONS, _profiling(tmp_path))
    assert _types(found) == {"aten::_convolution", "aten::relu", "aten::flatten", "aten::linear"}
    assert {operator.name for operator in found} == {f"{kind} 1" for kind in _types(found)}
    assert {operator.calls for operator in found} == {1.0}
    assert min(operator.mean_ns for operator in found) > 0
    assert sum(operator.share for operator in found) == pytest.approx(1)


def test_inferences_that_only_warm_up_do_not_count(tmp_path: Path) -> None:
    # Had they counted, there would be more calls than inferences.
    path = networks.write_onnx(tmp_path / "net.onnx")
    found = onnx.profile(path, OPTIONS, _profiling(tmp_path, warmups=7, counted=2))
    assert {operator.calls for operator in found} == {1.0}


def test_a_profile_of_onnx_on_a_gpu_is_refused_with_what_it_would_hold(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="has the time of starting kernels on a GPU, and not their own"):
        onnx.profile(tmp_path / "net.onnx", replace(OPTIONS, device="cuda"), _profiling(tmp_path))


@pytest.mark.parametrize("runtime", [onnx, torchscript])
def test_a_file_that_cannot_be_loaded_cannot_be_profiled(tmp_path: Path, runtime: Runtime) -> None:
    path = tmp_path / "broken.bin"
    path.write_bytes(b"no network at all" * 100)
    with pytest.raises(RuntimeUnavailable, match=r"^broken\.bin: .* cannot load it"):
        runtime.profile(path, OPTIONS, _profiling(tmp_path))


def _job(folder: Path, form: Format = "onnx") -> Job:
    path = folder / "inputs.bin"
    path.write_bytes(SAMPLES.tobytes())
    write = {"onnx": networks.write_onnx, "torchscript": networks.write_torchscript}[form]
    return Job(
        file=write(folder / f"net.{form}"),
        format=form,
        options=OPTIONS,
        inputs=ArrayLocation(path=path, offset=0, shape=SAMPLES.shape, dtype="|u1"),
        preprocess=networks.PREPROCESS,
        batch=2,
    )


@pytest.mark.parametrize(("form", "linear"), [("onnx", "Gemm"), ("torchscript", "aten::linear")])
def test_a_worker_profiles_and_leaves_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: Format, linear: str
) -> None:
    temporary, here = tmp_path / "temporary", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    job = _job(tmp_path, form)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.chdir(here)
    found = WORKERS.profile(job, 3)
    assert linear in _types(found)
    # ONNX Runtime leaves a file .ses wherever it is imported, profile or none.
    assert [path.name for path in (*temporary.iterdir(), *here.iterdir()) if path.name != ".ses"] == []


def test_an_order_to_profile_comes_out_of_its_json_as_it_went_in(tmp_path: Path) -> None:
    order = Order(job=_job(tmp_path), timing=None, profiling_seed=0, output=tmp_path / "logits.npy", parent=os.getpid())
    assert decode(encode(order)) == order


def test_a_worker_that_dies_while_it_profiles_is_reported(tmp_path: Path) -> None:
    inputs = ArrayLocation(path=tmp_path / "gone.bin", offset=0, shape=SAMPLES.shape, dtype="|u1")
    with pytest.raises(MeasurementError, match="the worker ended with status 1: FileNotFoundError"):
        WORKERS.profile(replace(_job(tmp_path), inputs=inputs), 0)


def test_threads_that_are_profiled_wait_as_those_that_are_timed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    profiling = Order(job=_job(tmp_path), timing=None, profiling_seed=0, output=tmp_path / "logits.npy", parent=1)
    timing = replace(profiling, timing=Timing(warmup_s=0, timed_s=0, seed=0), profiling_seed=None)
    assert workers._environment(profiling) == workers._environment(timing)
