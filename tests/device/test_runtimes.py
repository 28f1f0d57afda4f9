"""The runtimes of a board are aarch64's own, and a board has those alone that it was given."""

import numpy as np

from tests import networks
from tests.device.machines import Board

NAMES = (
    "import importlib.util as it; print(*(n for n in ('numpy', 'onnxruntime', 'psutil', 'torch') if it.find_spec(n)))"
)
ENGINES = """
import torch
torch.backends.quantized.engine = "qnnpack"
values = torch.quantize_per_tensor(torch.tensor([-1.0, 0.5, 2.0]), 0.5, 10, torch.quint8)
print(torch.__version__, torch.backends.quantized.supported_engines)
print(torch.nn.functional.relu(values).int_repr().tolist())
"""

ANSWERS = """
import numpy, onnxruntime
session = onnxruntime.InferenceSession("fp32.onnx", providers=["CPUExecutionProvider"])
numpy.save("logits.npy", session.run(None, {"input": numpy.load("inputs.npy")})[0])
"""


def test_a_board_has_the_packages_that_it_was_given_and_no_others(pi5: Board) -> None:
    pi5.has()
    assert pi5.ssh("python3 -", given=NAMES).stdout == "\n"
    pi5.has("numpy", "psutil")
    assert pi5.ssh("python3 -", given=NAMES).stdout == "numpy psutil\n"
    pi5.has("numpy", "onnxruntime")
    assert pi5.ssh("python3 -", given=NAMES).stdout == "numpy onnxruntime\n"


def test_onnx_runtime_answers_on_both_boards_as_numpy_does_here(both: tuple[Board, Board]) -> None:
    images = networks.inputs()
    for board in both:
        board.has("numpy", "onnxruntime")
        networks.write_onnx(board.home / "fp32.onnx")
        np.save(board.home / "inputs.npy", networks.PREPROCESS.apply(images))
        done = board.ssh("python3 -; rm fp32.onnx inputs.npy", given=ANSWERS)
        assert done.stderr == ""
        np.testing.assert_allclose(np.load(board.home / "logits.npy"), networks.expected_logits(images), atol=1e-4)
        (board.home / "logits.npy").unlink()


def test_qnnpack_computes_on_both_boards(both: tuple[Board, Board]) -> None:
    for board in both:
        board.has("numpy", "torch")
        lines = board.ssh("python3 -", given=ENGINES).stdout.splitlines()
        assert lines[0].startswith("2.9.1")
        assert "'qnnpack'" in lines[0]
        assert lines[1] == "[10, 11, 14]"
