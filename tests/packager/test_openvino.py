"""OpenVINO files: made of the network, near it in their answers, integer where they say so, the same every time."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import targets
from packager import builders, recipe
from packager.builders import BuildContext
from packager.candidates import NAMES
from packager.check import compare
from packager.data import Splits
from packager.export import Exported
from packager.export import onnx as onnx_export
from packager.export.openvino import graph, written
from packager.onnx_model import OnnxModel
from packager.quantize import onnx_graph, openvino_static
from packager.train import logits
from runner import openvino_file
from runner.errors import StepError
from runner.manifest import Target
from runner.runtimes import Options, onnx, openvino
from tests import contexts, modules

ROOT = Path(__file__).parent.parent.parent
X86, AVX2, ARM = (targets.load(name) for name in ("x86", "x86-avx2", "arm-qnnpack"))
KINDS = ("fp32", "fp16", "bf16", "int8")


@pytest.fixture(scope="module")
def context(trained: nn.Module, few_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> BuildContext:
    """The trained network."""
    return contexts.context(trained, contexts.bench(few_splits, tmp_path_factory.mktemp("openvino")))


@pytest.fixture(scope="module")
def made(context: BuildContext) -> Mapping[str, Exported]:
    """The files of the trained network for x86."""
    return {kind: make(context, f"{kind}.openvino") for kind in KINDS}


def make(context: BuildContext, name: str = "int8.openvino", target: Target = X86) -> Exported:
    """Return a file of a context's network."""
    return builders.export(NAMES[name], context, target)


def load(content: bytes, folder: Path, options: Options) -> openvino.OpenVinoSession:
    """Return a session of a file."""
    path = folder / "net.zip"
    path.write_bytes(content)
    return openvino.load(path, options)


def snr_db(content: bytes, module: nn.Module, splits: Splits, folder: Path, *, exact_int8: bool = False) -> float:
    """Return how near a file's answers are to those of the network."""
    session = load(content, folder, Options(threads=1, exact_int8=exact_int8))
    answers = session.run(splits.preprocess.apply(splits.evaluation.array()))
    return compare(answers, logits(module, splits.evaluation, splits.preprocess).numpy()).snr_db


def executed(content: bytes, folder: Path) -> dict[str, str]:
    """Return what computes each layer, by its name."""
    path = folder / "net.zip"
    path.write_bytes(content)
    session = openvino._load(path, Options(threads=1), profiled=True)
    session.run(np.zeros((1, 1, 28, 28), np.float32))
    layers = ("Convolution", "FullyConnected", "MatMul")
    found = session.request(1).get_profiling_info()
    return {each.node_name: each.exec_type for each in found if each.node_type.startswith(layers)}


def integers(content: bytes, folder: Path) -> list[bool]:
    """Return of each layer whether it is computed with integers."""
    return [kind.endswith(("_I8", "_i8", "_u8")) for kind in executed(content, folder).values()]


@pytest.mark.parametrize(("kind", "least"), [("fp32", 100.0), ("fp16", 50.0), ("bf16", 30.0), ("int8", 30.0)])
def test_a_file_answers_as_the_network_does(
    kind: str, least: float, made: Mapping[str, Exported], trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    assert snr_db(made[kind].content, trained, few_splits, tmp_path) >= least
    assert made[kind].dynamic_batch


def test_sixteen_bits_are_half_of_the_file_and_eight_a_quarter(made: Mapping[str, Exported]) -> None:
    fp32, fp16, bf16, int8 = (len(made[kind].content) for kind in KINDS)
    assert max(fp16, bf16) <= 0.51 * fp32
    assert int8 <= 0.27 * fp32


def test_int8_computes_every_layer_with_integers_and_the_others_none(
    made: Mapping[str, Exported], tmp_path: Path
) -> None:
    assert {kind: integers(made[kind].content, tmp_path) for kind in KINDS} == {
        "fp32": [False] * 4,
        "fp16": [False] * 4,
        "bf16": [False] * 4,
        "int8": [True] * 4,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_made_again_is_the_same(kind: str, made: Mapping[str, Exported], context: BuildContext) -> None:
    assert make(context, f"{kind}.openvino") == made[kind]


def test_another_process_makes_the_same_file(trained: nn.Module, few_splits: Splits, tmp_path: Path) -> None:
    example = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.take(slice(0, 1))))
    content = onnx_export.export(trained, example, 20).content
    (tmp_path / "net.onnx").write_bytes(content)
    program = (
        "import sys; from pathlib import Path; from packager.export.openvino import graph, written; "
        "sys.stdout.buffer.write(written(graph(Path(sys.argv[1]).read_bytes())))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "net.onnx")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True)

    assert done.stdout == written(graph(content))


@pytest.mark.parametrize("kind", KINDS)
def test_no_path_of_this_machine_is_in_a_file(kind: str, made: Mapping[str, Exported], tmp_path: Path) -> None:
    path = tmp_path / "net.zip"
    path.write_bytes(made[kind].content)
    for place in (str(ROOT), sys.prefix, str(Path.home()) + "/", "site-packages", "edgepack-"):
        assert place.encode() not in openvino_file.read(path).graph


def test_every_cpu_with_whole_integers_gets_the_same_file(
    made: Mapping[str, Exported], context: BuildContext, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    assert make(context, target=ARM).content == made["int8"].content
    assert snr_db(made["int8"].content, trained, few_splits, tmp_path, exact_int8=True) >= 30


def weights(content: bytes, folder: Path) -> int:
    """Return the largest of the integers of all weights, by the constants of the graph."""
    path = folder / "net.zip"
    path.write_bytes(content)
    parts = openvino_file.read(path)
    model = openvino.openvino.Core().read_model(
        parts.graph, openvino.openvino.Tensor(parts.weights, shared_memory=True)
    )
    constants = [each for each in model.get_ordered_ops() if each.get_type_name() == "Constant"]
    return max(
        int(abs(each.data.astype(int)).max()) for each in constants if each.get_element_type().to_dtype() == np.int8
    )


def test_without_vnni_weights_have_seven_bits(
    made: Mapping[str, Exported], context: BuildContext, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    reduced = make(context, target=AVX2).content

    assert weights(made["int8"].content, tmp_path) == 127
    assert weights(reduced, tmp_path) <= 64
    assert snr_db(reduced, trained, few_splits, tmp_path) >= 28


def test_layers_stay_in_fp32_by_the_names_that_the_network_has_for_them(
    context: BuildContext, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    kept = make(replace(context, quantize=recipe.Quantize(keep_fp32=("conv*", "hidden"))))

    assert sorted(integers(kept.content, tmp_path)) == [False, False, False, True]
    assert snr_db(kept.content, trained, few_splits, tmp_path) >= 30


def test_a_pattern_that_names_no_layer_is_refused(context: BuildContext) -> None:
    with pytest.raises(StepError, match="'convv' names no layer of the network"):
        make(replace(context, quantize=recipe.Quantize(keep_fp32=("convv",))))


@pytest.mark.parametrize(
    "plan",
    [
        recipe.Quantize(per_channel=False),
        recipe.Quantize(symmetric=True),
        recipe.Quantize(equalize=True),
        recipe.Quantize(correct_bias=True),
    ],
)
def test_a_recipe_is_heard(
    plan: recipe.Quantize,
    made: Mapping[str, Exported],
    context: BuildContext,
    trained: nn.Module,
    few_splits: Splits,
    tmp_path: Path,
) -> None:
    content = make(replace(context, quantize=plan)).content

    assert content != made["int8"].content
    assert snr_db(content, trained, few_splits, tmp_path) >= 20


def test_dynamic_ranges_are_refused_with_the_way_out(context: BuildContext) -> None:
    with pytest.raises(StepError) as caught:
        make(replace(context, quantize=recipe.Quantize(method="dynamic")))
    assert str(caught.value) == (
        "OpenVINO's int8 has ranges of its own for activations, fixed by calibration\n"
        "  try: --quantize static, or leave int8.openvino out"
    )


def test_what_was_trained_with_rounding_answers_as_its_onnx_file_does(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    plan = recipe.Quantize(qat=recipe.Qat(epochs=1, share=0.1))
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path), plan)
    content = make(context).content
    (tmp_path / "net.onnx").write_bytes(make(context, "int8.onnx").content)

    inputs = few_splits.preprocess.apply(few_splits.evaluation.array())
    alike = onnx.load(tmp_path / "net.onnx", Options(threads=1)).run(inputs)
    assert compare(load(content, tmp_path, Options(threads=1)).run(inputs), alike).snr_db >= 25
    assert integers(content, tmp_path) == [True] * 4


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel])
def test_shortcuts_reused_layers_and_single_pixels_are_borne(
    kind: type[nn.Module], few_splits: Splits, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    samples = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.array()))
    module = modules.settled(kind(), samples)
    content = make(contexts.context(module, contexts.bench(few_splits, tmp_path))).content

    assert snr_db(content, module, few_splits, tmp_path) >= 20


class Attention(nn.Module):
    """Weighs rows of the image by one another."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(28, 4, batch_first=True)
        self.linear = nn.Linear(28, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits, N x 4."""
        rows = x.squeeze(1)
        weighed, _ = self.attention(rows, rows, rows, need_weights=False)
        answers: torch.Tensor = self.linear(weighed.mean(1))
        return answers


def test_networks_with_attention_are_told_from_others_and_answer_as_they_do_in_fp32(
    few_splits: Splits, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = Attention().eval()
    context = contexts.context(module, contexts.bench(few_splits, tmp_path))
    content = make(context, "fp32.onnx").content

    assert openvino_static._attends(onnx_graph.prepared(content))
    assert snr_db(make(context).content, module, few_splits, tmp_path) >= 20


def test_a_network_that_is_only_a_file_is_taken_too(
    trained: nn.Module, few_splits: Splits, tmp_path: Path, context: BuildContext
) -> None:
    content = make(context, "fp32.onnx").content
    model = OnnxModel(content=content, name="net", opset=20, dynamic_batch=True, sha256="0")
    only_a_file = contexts.context(model, contexts.bench(few_splits, tmp_path))

    assert snr_db(make(only_a_file).content, trained, few_splits, tmp_path) >= 30


@pytest.mark.parametrize(
    ("name", "absent", "what"),
    [
        ("fp32.openvino", {"openvino"}, "openvino is not installed"),
        ("int8.openvino", {"nncf"}, "nncf is not installed"),
        ("int8.openvino", {"openvino", "nncf"}, "openvino and nncf are not installed"),
    ],
)
def test_what_is_not_installed_is_named_with_its_command(
    name: str, absent: set[str], what: str, context: BuildContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("packager.installed.find_spec", lambda name: None if name in absent else found(name))
    with pytest.raises(StepError) as caught:
        make(context, name)
    assert str(caught.value) == f"{what}\n  try: pip install 'edgepack[pack-openvino]'"


def test_nothing_is_printed(context: BuildContext, capfd: pytest.CaptureFixture[str]) -> None:
    make(context)
    assert capfd.readouterr() == ("", "")


def test_a_network_that_openvino_cannot_read_is_refused() -> None:
    with pytest.raises(StepError, match="OpenVINO cannot read the network: RuntimeError"):
        graph(b"no network")
