"""Where a board's kernels really compute otherwise than this host's, `pack bench --explain` names the layer."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper, save

import targets
from packager.explain import sentence
from packager.remote.result import BoardResult
from runner.bundle import FP32_REFERENCE, Bundle
from tests import bundles, networks
from tests.device import story
from tests.device.machines import Board
from tests.onnx_files import run

CHANNELS = 32
NEARLY = 1.001


def write_network(path: Path) -> Path:
    """Write a network in which nearly the same is computed twice, and the one taken from the other.

    What two machines round otherwise in long sums, which is little of these, is much of what is left of them.
    """
    chance = np.random.default_rng(1)
    kernel = chance.normal(size=(CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    values: dict[str, NDArray[np.generic]] = {
        "first": chance.normal(size=(CHANNELS, networks.CHANNELS, 3, 3)),
        "one": kernel,
        "other": kernel * NEARLY,
        "matrix": chance.normal(size=(CHANNELS * networks.SIZE**2, networks.CLASSES)),
        "bias": np.zeros(networks.CLASSES),
    }
    nodes = [
        helper.make_node("Conv", ["input", "first"], ["features"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["features", "one"], ["left"], name="left", pads=[1, 1, 1, 1]),
        helper.make_node("Conv", ["features", "other"], ["right"], name="right", pads=[1, 1, 1, 1]),
        helper.make_node("Sub", ["right", "left"], ["rest"], name="rest"),
        helper.make_node("Flatten", ["rest"], ["flat"]),
        helper.make_node("Gemm", ["flat", "matrix", "bias"], ["logits"], name="linear"),
    ]
    shape = [networks.CHANNELS, networks.SIZE, networks.SIZE]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", networks.CLASSES])],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in values.items()],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with that network."""
    folder = tmp_path_factory.mktemp("bundle")
    content = write_network(folder / "fp32.onnx").read_bytes()
    logits = run(content, networks.PREPROCESS.apply(networks.inputs(8)))
    return bundles.write_bundle(
        folder / "net.edgepack",
        {"fp32.onnx": content},
        (bundles.artifact(),),
        logits={FP32_REFERENCE: logits, "fp32.onnx": logits},
        labels=logits.argmax(axis=1),
        target=targets.load("arm-qnnpack"),
    )


@pytest.fixture(scope="module")
def explained(both: tuple[Board, Board], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> BoardResult:
    """What came of it on one board."""
    board, _ = both
    board.has("numpy", "onnxruntime")
    told = story.bench(
        bundle.path, [board], tmp_path_factory.mktemp("explained"), "--threads", 1, "--explain", "--json"
    )
    assert story.left_behind(board) == []
    return told.results[board.name]


def test_the_layer_is_named_where_little_becomes_much(explained: BoardResult) -> None:
    assert explained.failure is None
    assert explained.divergences
    (found,) = explained.divergences
    words = "fp32.onnx: layers 1 to 3 are the same but for rounding; the first that diverges is rest (Sub): "
    assert sentence(found).startswith(words)
    assert [(it.layer.name, it.diverges) for it in found.layers] == [
        ("stem", False),
        ("left", False),
        ("right", False),
        ("rest", True),
    ]
    assert found.logits.diverges


def test_it_is_of_the_sample_whose_logits_are_furthest_apart(explained: BoardResult) -> None:
    assert explained.report
    artifact = explained.report.artifact("fp32.onnx")
    assert artifact
    assert artifact.accuracy
    assert explained.divergences
    (found,) = explained.divergences
    assert found.sample == artifact.accuracy.furthest_sample
    assert found.logits.largest == artifact.accuracy.max_abs_difference > 0
    # What was measured is what is explained: the further outputs change nothing on either side.
    assert (found.host_disturbed, found.device_disturbed) == (0, 0)
