"""What lies between the layers, as the runner finds it: real files, real workers, the real command."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from runner import edge
from runner.arrays import ArrayLocation
from runner.bundle import FP32_REFERENCE, Bundle
from runner.cli import bench_runner
from runner.errors import MeasurementError, RuntimeUnavailable, UsageError
from runner.manifest import Format
from runner.measure import tensors
from runner.runtimes import Options, load_runtime
from runner.worker.order import Job, Order, Probing, decode, encode
from tests import bundles, networks

SAMPLES = 5
INPUTS = networks.PREPROCESS.apply(networks.inputs(SAMPLES))
EXPECTED = networks.expected_logits(networks.inputs(SAMPLES))


@pytest.fixture
def source(tmp_path: Path) -> Bundle:
    """A bundle of one network that runs here and one that never does."""
    network = networks.write_onnx(tmp_path / "net.onnx").read_bytes()
    artifacts = (bundles.artifact(), bundles.artifact("fp16", machines=("aarch64",)))
    names = [FP32_REFERENCE, *(item.name for item in artifacts)]
    return bundles.write_bundle(
        tmp_path / "net.edgepack",
        {item.name: network for item in artifacts},
        artifacts,
        logits=dict.fromkeys(names, EXPECTED.astype(np.float32)),
        labels=np.asarray(EXPECTED.argmax(axis=1), np.int64),
    )


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """The network with the tensor behind its ReLU as an output."""
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.output.append(onnx.ValueInfoProto(name="active"))
    onnx.save(model, tmp_path / "probe.onnx")
    return tmp_path / "probe.onnx"


def bench(*arguments: object) -> int:
    """Run the command, and return its exit code."""
    return edge.run(bench_runner, [str(each) for each in arguments], program="bench-runner")


def test_the_command_writes_the_artifacts_logits_and_all_that_the_probe_returns(
    source: Bundle, probe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "found.npz"
    options = ("--artifact", "fp32.onnx", "--probe", probe, "--sample", 3, "-o", output)
    assert bench("tensors", source.path, *options) == 0
    assert capsys.readouterr().out == f"{output}: 2 tensors of fp32.onnx for sample 3\n"
    found = tensors.read(output.read_bytes(), "found.npz")
    np.testing.assert_allclose(np.asarray(found.logits, np.float64), EXPECTED[3:4], rtol=1e-4, atol=1e-4)
    logits, active = found.probed
    assert np.array_equal(logits, found.logits)
    assert (active.shape, active.dtype.name) == ((1, 8, 8, 8), "float32")
    features = np.asarray(active, np.float64)
    assert features.min() == 0.0
    values = networks.weights()
    again = features.reshape(1, -1) @ values["matrix"] + values["bias"]
    np.testing.assert_allclose(again, EXPECTED[3:4], rtol=1e-4, atol=1e-4)


def test_the_command_is_kept_from_the_list_of_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--help") == 0
    assert "tensors" not in capsys.readouterr().out
    assert bench("tensors", "--help") == 0
    assert "what `pack bench --explain` asks for" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("name", "sample", "message"),
    [
        ("fp32.onx", 0, "net: no artifact 'fp32.onx' in this bundle\n  try: did you mean 'fp32.onnx'?"),
        ("fp32.onnx", 5, "net: sample: expected 0 to 4, got 5"),
        ("fp32.onnx", -1, "net: sample: expected 0 to 4, got -1"),
    ],
)
def test_what_is_not_in_the_bundle_is_refused(
    name: str, sample: int, message: str, source: Bundle, probe: Path
) -> None:
    with pytest.raises(UsageError) as caught:
        tensors.take(source, name, Probing(file=probe, sample=sample), 1)
    assert str(caught.value) == message


def test_a_probe_that_is_not_there_is_refused(source: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        tensors.take(source, "fp32.onnx", Probing(file=tmp_path / "none.onnx", sample=0), 1)
    assert str(caught.value) == f"{tmp_path / 'none.onnx'}: there is no such file"


def test_an_artifact_for_another_machine_is_not_run(source: Bundle, probe: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="runs on aarch64, and this machine is "):
        tensors.take(source, "fp16.onnx", Probing(file=probe, sample=0), 1)


def test_a_probe_that_the_runtime_cannot_read_is_told_by_its_name(source: Bundle, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no network at all" * 100)
    with pytest.raises(RuntimeUnavailable) as caught:
        tensors.take(source, "fp32.onnx", Probing(file=broken, sample=0), 1)
    assert caught.value.where == "broken.onnx"
    assert "cannot load it" in caught.value.what


def test_a_probe_that_takes_other_inputs_ends_its_worker_and_not_the_command(source: Bundle, tmp_path: Path) -> None:
    other = networks.write_onnx(tmp_path / "other.onnx", shape=(1, 4, 4))
    with pytest.raises(MeasurementError, match=r"^the worker ended with status 1: .*Please fix either the inputs"):
        tensors.take(source, "fp32.onnx", Probing(file=other, sample=0), 1)


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"no archive"])
def test_what_is_no_file_of_tensors_is_refused(content: bytes) -> None:
    with pytest.raises(MeasurementError, match=r"^board: is no file of tensors: ") as caught:
        tensors.read(content, "board")
    assert caught.value.advice == "run `bench-runner tensors` again"


def test_pickled_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, np.array([{"a": 1}], object))
    with pytest.raises(MeasurementError, match="allow_pickle=False"):
        tensors.read(path.read_bytes(), "board")


def test_an_order_with_a_probe_travels_as_json(tmp_path: Path) -> None:
    job = Job(
        file=tmp_path / "net.onnx",
        format="onnx",
        options=Options(threads=1, exact_int8=True),
        inputs=ArrayLocation(path=tmp_path / "inputs.bin", offset=64, shape=(4, 1, 8, 8), dtype="|u1"),
        preprocess=networks.PREPROCESS,
    )
    probing = Probing(file=tmp_path / "probe.onnx", sample=3)
    order = Order(job=job, timing=None, probing=probing, output=tmp_path / "out.npz", parent=os.getpid())
    assert decode(encode(order)) == order
    assert decode(encode(replace(order, probing=None))).probing is None


@pytest.mark.parametrize("form", ["onnx", "torchscript"])
def test_a_file_without_further_outputs_returns_its_logits(form: Format, tmp_path: Path) -> None:
    write = {"onnx": networks.write_onnx, "torchscript": networks.write_torchscript}[form]
    session = load_runtime(form).load(write(tmp_path / "net"), Options(threads=1))
    (logits,) = session.tensors(INPUTS)
    assert np.array_equal(logits, session.run(INPUTS))
