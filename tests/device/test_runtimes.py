"""What every runtime answers on aarch64: a program there loads one bundle's artifacts, as `runner.load` offers them."""

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from runner.bundle import Bundle, open_bundle
from runner.fastest import MOST_FLIPS
from runner.logits import snr_db
from tests.device import story
from tests.device.machines import Board
from tests.device.wheels import Wheels

ARTIFACTS: dict[str, tuple[Wheels, ...]] = {
    "int8.litert": ("ai_edge_litert",),
    "int8.executorch": ("executorch", "torch"),
    "int8.openvino": ("openvino",),
}
LEAST_SNR_DB = 20.0
"""Of OpenVINO's int8 between x86 and ARM, whose kernels are not the same."""
PROGRAM = """
import json, sys
from pathlib import Path
sys.path.insert(0, "net.edgepack")
import numpy, runner
from runner.bundle import INPUTS, open_bundle
bundle = Path("net.edgepack")
with runner.load(bundle, prefer="{name}", threads=1) as network:
    numpy.save("logits.npy", network(numpy.array(open_bundle(bundle).locate(INPUTS).open())))
    print(json.dumps([network.choice.name, str(network.choice)]))
"""
# torch and ExecuTorch take most of a minute to import there.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with an int8 artifact of each runtime that has kernels of its own for ARM."""
    folder = tmp_path_factory.mktemp("runtimes")
    names = ",".join(("fp32.onnx", *ARTIFACTS))
    small = ("--model", "small_cnn", "--epochs", 1, "--eval-samples", 100, "--no-cache")
    told = story.command("pack", "--target", "arm-qnnpack", *small, "--candidates", names, "-o", folder)
    assert told.code == 0, told.err
    found = open_bundle(Path(told.out.strip()))
    assert [each.name for each in found.manifest.artifacts] == ["fp32.onnx", *ARTIFACTS]
    return found


def answers(board: Board, bundle: Bundle, name: str) -> NDArray[np.float32]:
    """Return what an artifact says on a board to all samples of the bundle."""
    board.has("numpy", *ARTIFACTS[name])
    chosen, words, logits = loaded(board, bundle, name)
    assert chosen == name, words
    return logits


def loaded(board: Board, bundle: Bundle, name: str) -> tuple[str, str, NDArray[np.float32]]:
    """Return which artifact a board loads where one is preferred, why, and what it says to all samples."""
    copied, written = board.home / "net.edgepack", board.home / "logits.npy"
    copied.write_bytes(bundle.path.read_bytes())
    try:
        told = board.ssh("python3 -", given=PROGRAM.format(name=name))
        assert told.returncode == 0, told.stderr
        chosen, words = json.loads(told.stdout)
        return chosen, words, np.load(written)
    finally:
        copied.unlink()
        written.unlink(missing_ok=True)


@pytest.mark.parametrize("board", [0, 1], ids=["pi5", "pi4"])
def test_litert_answers_with_the_same_bits_as_on_the_host(
    board: int, both: tuple[Board, Board], bundle: Bundle
) -> None:
    assert np.array_equal(answers(both[board], bundle, "int8.litert"), bundle.reference()["int8.litert"])


def test_executorch_answers_with_the_same_bits_as_on_the_host_where_there_is_a_dot_product(
    pi5: Board, bundle: Bundle
) -> None:
    assert np.array_equal(answers(pi5, bundle, "int8.executorch"), bundle.reference()["int8.executorch"])


def test_what_kills_its_process_for_want_of_a_dot_product_is_passed_over(pi4: Board, bundle: Bundle) -> None:
    pi4.has("numpy", *ARTIFACTS["int8.executorch"], *ARTIFACTS["int8.litert"])
    chosen, words, logits = loaded(pi4, bundle, "int8.executorch")
    assert chosen == "int8.litert"
    assert "passed over int8.executorch: tried in a process of its own: the worker was ended by SIGILL" in words
    assert np.array_equal(logits, bundle.reference()["int8.litert"])


@pytest.mark.parametrize("board", [0, 1], ids=["pi5", "pi4"])
def test_openvino_answers_as_on_the_host_within_limits(board: int, both: tuple[Board, Board], bundle: Bundle) -> None:
    host = bundle.reference()["int8.openvino"]
    found = answers(both[board], bundle, "int8.openvino")
    flips = int((found.argmax(1) != host.argmax(1)).sum())
    distance = snr_db(found, host)
    assert flips <= MOST_FLIPS * len(host)
    assert distance is None or distance >= LEAST_SNR_DB
