"""LiteRT files: what they answer, what they are made of, and that they are the same every time."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray
from torch import Tensor, nn

from packager.export import litert
from packager.export.litert_graph import CODES, Graph
from runner import runtimes
from runner.errors import StepError
from runner.runtimes import Options
from tests import litert_files, modules

EXAMPLE = torch.zeros(1, 1, 16, 16)


class Pooled(nn.Module):
    """Two pools with padding, one after a ReLU and one that may see negative numbers, and a Flatten."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.linear = nn.Linear(128, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        x = self.pool(torch.relu(self.first(x)))
        logits: Tensor = self.linear(torch.flatten(self.pool(self.second(x)), 1))
        return logits


def pooled() -> nn.Module:
    torch.manual_seed(0)
    return Pooled().eval()


def samples(count: int = 6) -> NDArray[np.float32]:
    return np.random.default_rng(3).standard_normal((count, 1, 16, 16), np.float32)


def answers(content: bytes, inputs: NDArray[np.float32], folder: Path) -> NDArray[np.float32]:
    path = folder / "net.tflite"
    path.write_bytes(content)
    return runtimes.load_runtime("litert").load(path, Options(threads=1)).run(inputs)


def kinds(content: bytes) -> list[str]:
    graph, names = Graph(content), {value: name for name, value in vars(CODES).items() if isinstance(value, int)}
    return [names[graph.code(each)] for each in graph.graph.operators]


@pytest.fixture(scope="module")
def converted() -> bytes:
    return litert.convert(pooled(), EXAMPLE)


def test_a_file_answers_as_the_network_for_any_number_of_samples(converted: bytes, tmp_path: Path) -> None:
    made = litert.finished(converted, EXAMPLE)
    expected = pooled()(torch.from_numpy(samples())).detach().numpy()
    np.testing.assert_allclose(answers(made.content, samples(), tmp_path), expected, atol=1e-5)
    assert made.dynamic_batch


def test_a_pool_is_padded_with_zeros_where_nothing_is_negative_and_only_there(converted: bytes) -> None:
    found = kinds(converted)
    pools = [index for index, kind in enumerate(found) if kind == "MAX_POOL_2D"]
    assert [found[index - 1] for index in pools] == ["PAD", "PADV2"]


def test_a_finished_file_has_no_names_and_answers_the_same(converted: bytes, tmp_path: Path) -> None:
    made = litert.finished(converted, EXAMPLE).content
    assert {each.name for each in Graph(made).graph.tensors} == {None}
    assert len(made) < len(converted)
    before = answers(converted, samples(1), tmp_path)
    assert np.array_equal(answers(made, samples(1), tmp_path), before)


def test_another_process_makes_the_same_bytes_and_no_path_is_in_them(converted: bytes) -> None:
    program = (
        "import hashlib; from tests.packager import test_export_litert as it; "
        "print(hashlib.sha256(it.litert.convert(it.pooled(), it.EXAMPLE)).hexdigest())"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == (hashlib.sha256(converted).hexdigest() + "\n", "")
    assert str(Path(__file__).parents[2]).encode() not in converted


def test_a_network_that_decides_by_its_input_is_refused_by_the_layer() -> None:
    with pytest.raises(
        StepError, match=r"litert-torch cannot convert the network, in block\.gate \(Gate\): "
    ) as caught:
        litert.convert(modules.Gated().eval(), torch.zeros(1, 1, 28, 28))
    assert caught.value.advice.endswith("or leave the LiteRT artifacts out")


def test_a_converter_that_is_missing_is_named_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(StepError) as caught:
        litert.convert(pooled(), EXAMPLE)
    assert str(caught.value) == ("litert_torch is not installed\n  try: pip install 'edgepack[pack-litert]'")


def test_a_batch_that_a_slice_fixes_is_said_to_be_fixed() -> None:
    file = litert_files.Writer()
    taken, half = file.tensor("input", (1, 4)), file.tensor("logits", (1, 2))
    ends = [file.constant(name, np.array(at, np.int32)) for name, at in (("from", [0, 0]), ("size", [1, 2]))]
    content = file.bytes(taken, file.operator(CODES.SLICE, [taken, *ends], half, schema.SliceOptionsT()))
    assert not litert.finished(content, torch.arange(4.0).reshape(1, 4)).dynamic_batch
