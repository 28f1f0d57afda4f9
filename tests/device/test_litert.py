"""A LiteRT file in int8 that was made on the host: the same bits on both boards."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

import targets
from packager import recipe
from packager.quantize import Order
from packager.quantize import litert as quantizer
from packager.quantize.calibration import Calibration
from runner.runtimes import Options, litert
from tests import litert_files, networks
from tests.device.machines import Board

IMAGES = networks.PREPROCESS.apply(networks.inputs(8))
ANSWERS = """
import numpy
from ai_edge_litert.interpreter import Interpreter
session = Interpreter(model_path="int8.tflite", num_threads=2)
inputs, logits = numpy.load("inputs.npy"), []
session.allocate_tensors()
for each in inputs:
    session.set_tensor(session.get_input_details()[0]["index"], each[None])
    session.invoke()
    logits.append(session.get_tensor(session.get_output_details()[0]["index"]))
numpy.save("logits.npy", numpy.concatenate(logits))
"""


def int8(folder: Path) -> bytes:
    """Return the tests' network in int8."""

    def batches(title: str, size: int) -> list[NDArray[np.float32]]:
        return [IMAGES[first : first + size] for first in range(0, len(IMAGES), size)]

    calibration = cast("Calibration", SimpleNamespace(batches=batches, example=lambda: IMAGES[:1]))
    order = Order(target=targets.load("arm-qnnpack"), plan=recipe.Quantize(), calibration=calibration)
    return quantizer.quantize(litert_files.write_litert(folder / "fp32.tflite").read_bytes(), nn.Identity(), order)


def test_int8_answers_with_the_same_bits_as_on_the_host(both: tuple[Board, Board], tmp_path: Path) -> None:
    content = int8(tmp_path)
    here = tmp_path / "int8.tflite"
    here.write_bytes(content)
    expected = litert.load(here, Options(threads=1)).run(IMAGES)
    np.testing.assert_allclose(expected, networks.expected_logits(networks.inputs(8)), atol=0.5)
    for board in both:
        board.has("ai_edge_litert", "numpy")
        (board.home / "int8.tflite").write_bytes(content)
        np.save(board.home / "inputs.npy", IMAGES)
        board.ssh("python3 -; rm int8.tflite inputs.npy", given=ANSWERS)
        assert np.array_equal(np.load(board.home / "logits.npy"), expected)
        (board.home / "logits.npy").unlink()
