"""The runtimes of a board are aarch64's own, and a board has those alone that it was given."""

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


def test_a_board_has_the_packages_that_it_was_given_and_no_others(pi5: Board) -> None:
    pi5.has()
    assert pi5.ssh("python3 -", given=NAMES).stdout == "\n"
    pi5.has("numpy", "psutil")
    assert pi5.ssh("python3 -", given=NAMES).stdout == "numpy psutil\n"
    pi5.has("numpy", "onnxruntime")
    assert pi5.ssh("python3 -", given=NAMES).stdout == "numpy onnxruntime\n"


def test_qnnpack_computes_on_both_boards(both: tuple[Board, Board]) -> None:
    for board in both:
        board.has("numpy", "torch")
        lines = board.ssh("python3 -", given=ENGINES).stdout.splitlines()
        assert lines[0].startswith("2.9.1")
        assert "'qnnpack'" in lines[0]
        assert lines[1] == "[10, 11, 14]"
