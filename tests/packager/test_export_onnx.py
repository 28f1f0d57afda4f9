"""ONNX files, made from real networks and run by ONNX Runtime."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import nn

import models
from packager.export import Exported, HalfPrecision
from packager.export.onnx import export, stripped
from runner.errors import StepError
from tests import modules

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
IMAGES = torch.randn(32, 1, 28, 28, generator=torch.Generator().manual_seed(1))
ADVICE = "leave data-dependent `if`, loops over tensors and print out of forward()"


def seeded(kind: type[nn.Module]) -> nn.Module:
    """Return a network with the same weights each time."""
    torch.manual_seed(0)
    return modules.settled(kind(), IMAGES[:1])


def run(content: bytes, samples: int) -> NDArray[np.float32]:
    """Return what ONNX Runtime answers to the first so many images."""
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    answers: NDArray[np.float32] = session.run(["logits"], {"input": IMAGES[:samples].numpy()})[0]
    return answers


def eager(module: nn.Module, samples: int) -> NDArray[np.float32]:
    """Return what the network itself answers."""
    with torch.no_grad():
        answers: NDArray[np.float32] = module(IMAGES[:samples]).numpy()
    return answers


def difference(one: NDArray[np.float32], two: NDArray[np.float32]) -> float:
    """Return the largest difference, relative to the largest value."""
    assert one.shape == two.shape
    return float(np.abs(one - two).max() / np.abs(two).max())


@pytest.fixture(scope="module")
def exported(trained: nn.Module) -> Exported:
    """The trained network as a file."""
    return export(trained, EXAMPLE, 20)


@pytest.mark.parametrize("samples", [1, 3, 32])
def test_the_file_answers_as_the_network_does_to_any_number_of_samples(
    samples: int, exported: Exported, trained: nn.Module
) -> None:
    assert exported.dynamic_batch
    assert difference(run(exported.content, samples), eager(trained, samples)) < 1e-5


def test_input_and_output_have_their_names_types_and_shapes(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.content, providers=["CPUExecutionProvider"])
    sides = [(side.name, side.type, side.shape) for side in (*session.get_inputs(), *session.get_outputs())]

    assert sides == [("input", "tensor(float)", ["batch", 1, 28, 28]), ("logits", "tensor(float)", ["batch", 4])]


@pytest.mark.parametrize("kind", [modules.FixedBatch, modules.Unrolled])
def test_a_network_that_fixes_its_batch_takes_one_sample_and_says_so(kind: type[nn.Module]) -> None:
    module = seeded(kind)
    exported = export(module, EXAMPLE, 20)

    assert not exported.dynamic_batch
    assert difference(run(exported.content, 1), eager(module, 1)) < 1e-5
    assert onnx.load_from_string(exported.content).graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


@pytest.mark.parametrize("opset", range(18, 24))
def test_every_opset_that_a_recipe_may_ask_for_is_kept_and_runs(opset: int) -> None:
    module = seeded(modules.Residual)
    content = export(module, EXAMPLE, opset).content

    assert [(each.domain, each.version) for each in onnx.load_from_string(content).opset_import] == [("", opset)]
    assert difference(run(content, 3), eager(module, 3)) < 1e-5


def test_half_precision_computes_in_float16_behind_a_float32_face(trained: nn.Module) -> None:
    exported = export(HalfPrecision(trained), EXAMPLE, 20)
    model = onnx.load_from_string(exported.content)

    faces = [side.type.tensor_type.elem_type for side in (*model.graph.input, *model.graph.output)]
    weights = {value.data_type for value in model.graph.initializer if len(value.dims) > 1}
    assert exported.dynamic_batch
    assert faces == [TensorProto.FLOAT, TensorProto.FLOAT]
    assert weights == {TensorProto.FLOAT16}
    assert run(exported.content, 3).dtype == np.float32
    assert 1e-6 < difference(run(exported.content, 3), eager(trained, 3)) < 1e-2


def test_half_precision_leaves_the_network_as_it_is(trained: nn.Module) -> None:
    HalfPrecision(trained)
    assert {value.dtype for value in trained.parameters()} == {torch.float32}


@pytest.mark.parametrize("name", ["resnet8", "torchvision:mobilenet_v3_small", "torchvision:shufflenet_v2_x0_5"])
def test_a_runtime_finds_nothing_left_to_optimise_that_is_portable(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    content = export(models.build(name, 3, 10, 64, 64).eval(), torch.zeros(1, 3, 64, 64), 20).content
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    settings.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])

    ours, optimised = (
        Counter(node.op_type for node in each.graph.node)
        for each in (onnx.load_from_string(content), onnx.load(tmp_path / "optimised.onnx"))
    )
    # It writes HardSwish out, for which it has no kernel; nothing else is gone.
    assert set(ours - optimised) <= {"HardSwish"}


def test_the_same_network_gives_the_same_bytes(exported: Exported, trained: nn.Module) -> None:
    assert export(trained, EXAMPLE, 20) == exported


def test_the_network_is_left_as_it_was(trained: nn.Module) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    export(trained, EXAMPLE, 20)

    assert not trained.training
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in trained.modules())


def test_no_path_of_this_machine_and_no_notes_are_in_the_file(exported: Exported) -> None:
    for path in (str(ROOT), sys.prefix, "site-packages", ".py"):
        assert path.encode() not in exported.content
    model = onnx.load_from_string(exported.content)
    nodes = list(model.graph.node)
    assert len(nodes) > 5
    for part in (model, model.graph, *nodes, *model.graph.input, *model.graph.output, *model.graph.value_info):
        assert (list(part.metadata_props), part.doc_string) == ([], "")


def test_notes_are_stripped_within_branches_too() -> None:
    """Wherever ONNX lets a note stand."""
    inner = helper.make_node("Identity", ["x"], ["y"], doc_string="a note")
    shape = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1], doc_string="a note")
    branch = helper.make_graph([inner], "branch", [], [shape], doc_string="a note")
    node = helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch, doc_string="a note")
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [1])
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    constant = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    constant.doc_string = "a note"
    graph = helper.make_graph([node], "graph", [condition, x], [shape], [constant], doc_string="a note")
    function = helper.make_function(
        "own", "f", ["a"], ["b"], [helper.make_node("Neg", ["a"], ["b"], doc_string="a note")], [], doc_string="a note"
    )
    model = helper.make_model(graph, functions=[function], doc_string="a note")
    helper.set_model_props(model, {"key": "a note"})
    assert b"a note" in model.SerializeToString()

    left = stripped(model)

    assert b"a note" not in left
    assert b"branch" in left
    assert onnx.load_from_string(left).graph.node[0].attribute[0].g.node[0].op_type == "Identity"


def test_a_layer_that_cannot_be_exported_is_named() -> None:
    with pytest.raises(StepError) as caught:
        export(seeded(modules.Gated), EXAMPLE, 20)

    what, advice = str(caught.value).splitlines()
    assert what.startswith(
        "the network cannot be exported to ONNX, in block.gate (Gate): GuardOnDataDependentSymNode: "
        "Could not guard on data-dependent expression"
    )
    assert advice == f"  try: {ADVICE}"


def test_nothing_is_printed_where_an_export_fails(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StepError):
        export(seeded(modules.Gated), EXAMPLE, 20)

    assert capfd.readouterr() == ("", "")


def test_the_innermost_cause_is_told() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("images of 32 x 32 are expected\nand more lines")

    with pytest.raises(StepError) as caught:
        export(nn.Sequential(nn.Conv2d(1, 2, 3), Broken()).eval(), EXAMPLE, 20)

    assert str(caught.value) == (
        "the network cannot be exported to ONNX, in 1 (Broken): ValueError: images of 32 x 32 are expected\n"
        f"  try: {ADVICE}"
    )
