"""Integer ONNX files in fewer bytes, which answer the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import models
import targets
from packager import builders, recipe
from packager.data import Splits
from packager.export import onnx_compact
from packager.export.onnx_compact import compact
from runner.manifest import Candidate
from tests import contexts, onnx_files

STATIC, PT2E = recipe.Quantize(), recipe.Quantize(onnx="pt2e")
QOPERATOR, DYNAMIC = recipe.Quantize(operators="qoperator"), recipe.Quantize(method="dynamic")
INT8, FP32 = Candidate(precision="int8", format="onnx"), Candidate(precision="fp32", format="onnx")


@pytest.fixture
def context(few_splits: Splits, tmp_path: Path) -> builders.BuildContext:
    torch.manual_seed(0)
    return contexts.context(models.build("resnet8", 1, 4, 28, 28).eval(), contexts.bench(few_splits, tmp_path))


@pytest.mark.parametrize(
    ("target", "plan"),
    [
        *[(target, plan) for target in ("x86", "arm-qnnpack") for plan in (STATIC, PT2E, DYNAMIC)],
        ("x86", QOPERATOR),
    ],
)
def test_the_answers_are_the_same_bit_for_bit(
    target: str, plan: recipe.Quantize, context: builders.BuildContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    for_ = targets.load(target)
    with monkeypatch.context() as patch:
        patch.setattr(onnx_compact, "compact", lambda content: content)
        whole = builders.export(INT8, replace(context, quantize=plan), for_).content
    small = compact(whole)
    inputs = context.bench.splits.preprocess.apply(context.bench.splits.evaluation.array())

    onnx.checker.check_model(onnx.load_from_string(small), full_check=True)
    assert len(small) < len(whole)
    assert compact(small) == small
    for runs_on in ("x86", "arm-qnnpack"):  # with and without the option for exact int8
        expected, answers = (onnx_files.run(content, inputs, targets.load(runs_on)) for content in (whole, small))
        assert np.array_equal(answers, expected)


@pytest.mark.parametrize("target", ["x86", "arm-qnnpack"])
@pytest.mark.parametrize("plan", [STATIC, PT2E])
def test_an_int8_resnet8_is_hardly_more_than_a_quarter_of_its_fp32(
    target: str, plan: recipe.Quantize, context: builders.BuildContext
) -> None:
    for_ = targets.load(target)
    fp32 = builders.export(FP32, context, for_).content
    int8 = builders.export(INT8, replace(context, quantize=plan), for_).content

    assert len(int8) <= 0.27 * len(fp32)


def test_inputs_outputs_and_layers_keep_their_names(context: builders.BuildContext) -> None:
    content = builders.export(INT8, context, targets.load("x86")).content
    graph = onnx.load_from_string(content).graph

    assert ([value.name for value in graph.input], [value.name for value in graph.output]) == (["input"], ["logits"])
    assert all(node.name for node in graph.node if node.op_type in ("Conv", "Gemm", "Add", "ReduceMean"))
    assert max(len(constant.name) for constant in graph.initializer) == 2


def test_a_bias_whose_scale_is_another_keeps_it() -> None:
    constants = {
        "x_scale": np.float32(0.5),
        "x_zero": np.uint8(3),
        "w": np.eye(2, dtype=np.int8),
        "w_scale": np.array([0.25, 0.5], np.float32),
        "w_zero": np.zeros(2, np.int8),
        "b": np.array([7, -9], np.int32),
        "b_scale": np.array([0.125, 0.125], np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "x_scale", "x_zero"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "x_scale", "x_zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "w_zero"], ["weight"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "b_scale"], ["bias"], axis=0),
        helper.make_node("Gemm", ["x", "weight", "bias"], ["logits"], name="linear", transB=1),
    ]

    small = compact(_file(nodes, constants))

    assert "Mul" not in onnx_files.operators(small)
    assert [0.125, 0.125] in [array.tolist() for array in onnx_files.arrays(small).values()]


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_attributes_that_are_not_the_defaults_stay(domain: str) -> None:
    weight = np.ones((2, 1, 3, 3), np.float32)
    node = helper.make_node(
        "Conv",
        ["input", "w"],
        ["logits"],
        group=2,
        strides=[2, 1],
        pads=[1, 1, 1, 1],
        dilations=[1, 1],
        auto_pad="NOTSET",
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "graph",
        [value("input", TensorProto.FLOAT, [1, 2, 5, 5])],
        [value("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid(domain, 20), helper.make_opsetid("unused", 1)])

    small = onnx.load_from_string(compact(model.SerializeToString()))

    assert {each.name: helper.get_attribute_value(each) for each in small.graph.node[0].attribute} == {
        "group": 2,
        "strides": [2, 1],
        "pads": [1, 1, 1, 1],
    }
    assert [each.domain for each in small.opset_import] == [domain]


def test_a_file_with_graphs_in_its_nodes_stays_as_it_is() -> None:
    value = helper.make_tensor_value_info
    branches = {
        name: helper.make_graph(
            [helper.make_node(operator, ["input"], [name])], name, [], [value(name, TensorProto.FLOAT, [1, 2])]
        )
        for name, operator in (("then_branch", "Neg"), ("else_branch", "Abs"))
    }
    content = _file([helper.make_node("If", ["yes"], ["logits"], **branches)], {"yes": np.array(True)})

    assert compact(content) == content


def _file(nodes: list[onnx.NodeProto], constants: dict[str, object]) -> bytes:
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "graph",
        [value("input", TensorProto.FLOAT, [1, 2])],
        [value("logits", TensorProto.FLOAT, [1, 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    content: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    ).SerializeToString()
    return content
