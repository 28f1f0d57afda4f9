"""OpenVINO artifacts: answers, threads, sizes of batches, and what is said of files that cannot be read."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.export.openvino import graph, written
from runner import openvino_file
from runner.errors import RuntimeUnavailable
from runner.runtimes import Options, Profiling, openvino
from tests import networks

PIP = f"{sys.executable} -m pip install"
INPUTS = networks.PREPROCESS.apply(networks.inputs(5))
EXPECTED = networks.expected_logits(networks.inputs(5))
ONE = Options(threads=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small network of the tests, as OpenVINO has it."""
    folder = tmp_path_factory.mktemp("openvino")
    network = networks.write_onnx(folder / "net.onnx").read_bytes()
    file = folder / "net.openvino.zip"
    file.write_bytes(written(graph(network)))
    return file


def _fresh(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def _changed(path: Path, folder: Path, old: bytes, new: bytes) -> Path:
    """Return a copy of a file with something else in its graph."""
    parts = openvino_file.read(path)
    assert old in parts.graph
    copy = folder / "changed.zip"
    copy.write_bytes(openvino_file.written(parts.graph.replace(old, new), parts.weights.tobytes()))
    return copy


def test_a_file_answers_as_numpy_computes(path: Path) -> None:
    session = openvino.load(path, ONE)
    logits = session.run(INPUTS)

    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, EXPECTED, rtol=1e-4, atol=1e-4)
    assert (session.provider, session.version) == ("CPU", openvino.VERSION)
    assert openvino.openvino.__version__.startswith(f"{session.version}-")


def test_every_size_of_batch_is_compiled_for_itself_and_the_last_two_are_kept(path: Path) -> None:
    session = openvino.load(path, ONE)
    assert list(session.requests) == [1]

    for size in (2, 5, 1, 1):
        np.testing.assert_allclose(session.run(INPUTS[:size]), EXPECTED[:size], rtol=1e-4, atol=1e-4)
    assert list(session.requests) == [5, 1]


def test_an_answer_is_kept_while_others_are_made_and_samples_are_left_as_they_are(path: Path) -> None:
    session, samples = openvino.load(path, ONE), INPUTS.copy()
    first = session.run(samples[:1])
    before = first.copy()

    session.run(samples[1:2])
    assert np.array_equal(first, before)
    assert np.array_equal(samples, INPUTS)


def test_samples_are_left_as_they_are_by_a_network_that_could_compute_in_place(tmp_path: Path) -> None:
    shape = [1, 3]
    node = [helper.make_node("Relu", ["input"], ["r"]), helper.make_node("Mul", ["r", "two"], ["logits"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("input", "logits")]
    two = numpy_helper.from_array(np.array([2.0], np.float32), "two")
    model = helper.make_model(helper.make_graph(node, "g", ends[:1], ends[1:], [two]))
    file = tmp_path / "net.zip"
    file.write_bytes(written(graph(model.SerializeToString())))
    samples = np.array([[-1.0, 2.0, 3.0]], np.float32)

    answers = openvino.load(file, ONE).run(samples)
    assert answers.tolist() == [[0.0, 4.0, 6.0]]
    assert samples.tolist() == [[-1.0, 2.0, 3.0]]


def test_samples_may_be_read_only_or_lie_apart(path: Path) -> None:
    session = openvino.load(path, ONE)
    locked = INPUTS.copy()
    locked.flags.writeable = False
    apart = np.repeat(INPUTS, 2, axis=0)[::2]

    assert np.array_equal(session.run(locked), session.run(INPUTS))
    assert np.array_equal(session.run(apart), session.run(INPUTS))


def test_all_outputs_come_in_their_order(tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["input"], ["positive"]), helper.make_node("Neg", ["input"], ["negated"])]
    given, *made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 2]) for name in ("input", "positive", "negated")
    )
    file = tmp_path / "net.zip"
    model = helper.make_model(helper.make_graph(nodes, "g", [given], made))
    file.write_bytes(written(graph(model.SerializeToString())))

    found = openvino.load(file, ONE).tensors(np.array([[-1, 2]], np.float32))
    assert [each.tolist() for each in found] == [[[0.0, 2.0]], [[1.0, -2.0]]]


@pytest.mark.parametrize("threads", [1, 2])
def test_the_properties_are_those_that_were_asked_for(path: Path, threads: int) -> None:
    compiled = openvino.load(path, Options(threads=threads)).request(1).get_compiled_model()
    found = {
        name: str(compiled.get_property(name))
        for name in ("INFERENCE_NUM_THREADS", "NUM_STREAMS", "ENABLE_CPU_PINNING", "INFERENCE_PRECISION_HINT")
    }
    assert found == {
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": "False",
        "INFERENCE_PRECISION_HINT": "<Type: 'float32'>",
    }


def test_weights_of_16_bits_are_half_the_file_and_near_in_their_answers(path: Path, tmp_path: Path) -> None:
    network = networks.write_onnx(tmp_path / "net.onnx").read_bytes()
    half = tmp_path / "half.zip"
    half.write_bytes(written(graph(network), "f16"))
    weights = [openvino_file.read(each).weights.size for each in (half, path)]

    assert weights[0] < 0.52 * weights[1]
    assert b"edgepack_precision" in openvino_file.read(half).graph
    np.testing.assert_allclose(openvino.load(half, ONE).run(INPUTS), EXPECTED, rtol=0.01, atol=0.02)


def test_each_node_has_its_time_in_one_inference(path: Path, tmp_path: Path) -> None:
    profiling = Profiling(inputs=[INPUTS[:1]] * 15, warmups=5, folder=tmp_path)
    found = openvino.profile(path, ONE, profiling)

    assert {each.op_type: each.calls for each in found}["Convolution"] == 1.0
    assert sum(each.share for each in found) == pytest.approx(1.0)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_a_newer_openvino_is_refused_with_the_version_that_made_it(path: Path, tmp_path: Path) -> None:
    newer = _changed(path, tmp_path, b'type="Convolution"', b'type="Convolution2099"')
    with pytest.raises(RuntimeUnavailable) as caught:
        openvino.load(newer, replace(ONE, made_with="2099.1.0"))
    assert str(caught.value) == (
        f"changed.zip: OpenVINO {openvino.VERSION} cannot load it: "
        "Opset opset1 doesn't contain the operation with type: Convolution2099\n"
        f"  try: openvino 2099.1.0, which it was made with, or later: {PIP} 'openvino>=2099.1.0'"
    )


def test_a_damaged_network_is_told(path: Path, tmp_path: Path) -> None:
    for file, what in (
        (_changed(path, tmp_path, b"</net>", b""), "cannot load it: Start-end tags mismatch"),
        (tmp_path / "short.zip", "is no OpenVINO network, or a damaged one: was cut short"),
        (tmp_path / "absent.zip", "cannot be read: No such file or directory"),
    ):
        if file.name == "short.zip":
            file.write_bytes(path.read_bytes()[:-5])
        with pytest.raises(RuntimeUnavailable, match=what):
            openvino.load(file, ONE)


def test_there_is_none_for_cuda(path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match="for the CPU alone"):
        openvino.load(path, replace(ONE, device="cuda"))


def test_an_import_brings_neither_the_converter_nor_what_tells_of_it_and_closes_neither_to_others() -> None:
    program = (
        "import sys; before = set(sys.modules); import runner.runtimes.openvino; "
        "print([name for name in ('openvino.tools.ovc', 'openvino_telemetry', 'torch', 'onnx', 'urllib.request') "
        "if name in sys.modules]); import openvino.tools.ovc; print(openvino.tools.ovc.__name__)"
    )
    assert _fresh(f"import os; os.environ['CI'] = 'true'; {program}") == "[]\nopenvino.tools.ovc"


def test_nothing_is_left_for_accelerators_to_tell(path: Path) -> None:
    session = openvino.load(path, ONE)
    assert (session.device_ns(INPUTS[:1]), session.placement(), session.device_memory()) == (None, None, None)
