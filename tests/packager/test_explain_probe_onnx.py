"""Which tensors of an ONNX file are returned, and what they are called."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import targets
from packager.explain import probe_onnx
from packager.explain.probe import Layer
from packager.explain.probe_onnx import Question, with_outputs
from runner.errors import StepError
from tests import explained, networks

QUESTION = Question(inputs=explained.INPUTS, exact_int8=False)


@pytest.fixture(scope="module")
def x86() -> explained.Files:
    """The artifacts for x86."""
    return explained.files(targets.load("x86"), explained.network())


def test_of_an_int8_file_the_integers_between_its_kernels_are_returned(x86: explained.Files) -> None:
    made = probe_onnx.make(x86["int8.onnx"], QUESTION, x86["fp32.onnx"])
    assert made.layers == (
        Layer(name="input", operator="QuantizeLinear"),
        Layer(name="conv", operator="QLinearConv"),
        Layer(name="conv1", operator="QLinearConv"),
        Layer(name="conv2", operator="QLinearConv"),
        Layer(name="add_50", operator="QLinearAdd"),
        Layer(name="avg_pool2d", operator="QLinearAveragePool"),
        Layer(name="linear", operator="QGemm"),
    )
    outputs = onnx.load_from_string(made.content).graph.output
    assert len(outputs) == 1 + len(made.layers)
    assert outputs[0].name == "logits"
    assert np.array_equal(QUESTION.answer(made.content), QUESTION.answer(x86["int8.onnx"]))


def test_without_the_network_in_fp32_layers_are_called_as_their_nodes(x86: explained.Files) -> None:
    made = probe_onnx.make(x86["int8.onnx"], QUESTION)
    assert [layer.name for layer in made.layers[:2]] == ["input", "Conv_25"]


def test_of_an_fp32_file_nothing_is_returned_that_is_fused(x86: explained.Files) -> None:
    made = probe_onnx.make(x86["fp32.onnx"], QUESTION, x86["fp32.onnx"])
    assert [layer.name for layer in made.layers] == ["conv", "conv1", "add_50", "avg_pool2d"]
    assert [layer.operator for layer in made.layers] == ["FusedConv", "FusedConv", "FusedConv", "AveragePool"]
    assert np.array_equal(QUESTION.answer(made.content), QUESTION.answer(x86["fp32.onnx"]))


def test_on_x86_a_probe_for_arm_has_the_logits_of_its_artifact_too() -> None:
    # For ARM on x86: a signed activation that is an output stays signed, and the pooling before it is no integer one.
    arm = explained.files(targets.load("arm-qnnpack"), explained.network())
    exact = Question(inputs=explained.INPUTS[2:3], exact_int8=True)
    made = probe_onnx.make(arm["int8.onnx"], exact, arm["fp32.onnx"])
    assert np.array_equal(exact.answer(made.content), exact.answer(arm["int8.onnx"]))
    assert [layer.name for layer in made.layers][:5] == ["input", "conv", "conv1", "conv2", "add_50"]


def test_the_integers_of_a_layer_are_those_that_the_next_one_takes(x86: explained.Files) -> None:
    # The last integers, turned back by their scale, are the logits.
    content = x86["int8.onnx"]
    made = probe_onnx.make(content, QUESTION)
    model = onnx.load_from_string(content)
    constants = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    (last,) = (node for node in model.graph.node if node.output[0] == "logits")
    scale, zero_point = (constants[name] for name in last.input[1:])
    session = onnxruntime.InferenceSession(made.content, providers=["CPUExecutionProvider"])
    logits, *layers = session.run(None, {"input": explained.INPUTS[:1]})
    steps = layers[-1].astype(np.float32) - zero_point.astype(np.float32)
    np.testing.assert_array_equal(steps * scale, logits)


def test_a_file_of_one_operator_has_nothing_to_show() -> None:
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["input", "matrix"], ["logits"])],
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.ones((8, 3), np.float32), "matrix")],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    question = Question(inputs=np.ones((1, 8), np.float32), exact_int8=False)
    with pytest.raises(StepError) as caught:
        probe_onnx.make(content, question)
    assert str(caught.value) == (
        "none of its layers can be shown: ONNX Runtime keeps no tensor between its input and its logits"
        "\n  try: compare the logits alone"
    )


def test_further_outputs_stand_behind_the_logits(tmp_path: Path) -> None:
    content = networks.write_onnx(tmp_path / "net.onnx").read_bytes()
    model = onnx.load_from_string(with_outputs(content, ["active", "flat"]))
    assert [value.name for value in model.graph.output] == ["logits", "active", "flat"]
