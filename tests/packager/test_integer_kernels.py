"""Files with integers between floating-point parts, run by ONNX Runtime before and after these are evened out."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packager.quantize.integer_kernels import for_integer_kernels

Floats = NDArray[np.float32]

SCALE, WEIGHT_SCALES = 0.05, np.array([0.01, 0.002, 0.03], np.float32)
BIAS = np.array([0.5, -0.25, 0.1], np.float32)
ROUNDED = "QuantizeLinear", "DequantizeLinear"


def network(*, clip: tuple[float, float] | None = None, zero_point: int = 0, bias: Floats = BIAS) -> onnx.ModelProto:
    """Return a convolution, a ReLU, a mean over the pixels and a linear layer, as PyTorch's exporter writes them."""
    chance = np.random.default_rng(0)
    constants = {
        "scale": np.float32(SCALE),
        "zero": np.uint8(zero_point),
        "input_zero": np.uint8(128),
        "kernel": chance.integers(-128, 128, (3, 2, 3, 3), np.int8),
        "kernel_scale": WEIGHT_SCALES,
        "kernel_zero": np.zeros(3, np.int8),
        "kernel_bias": bias,
        "matrix": chance.integers(-128, 128, (3, 3), np.int8),
        "axes": np.array([-1, -2], np.int64),
        "shape": np.array([-1, 3], np.int64),
        "low": np.float32(clip[0] if clip else 0),
        "high": np.float32(clip[1] if clip else 0),
        "nobody": np.zeros(100, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "scale", "input_zero"], ["input_q"]),
        helper.make_node("DequantizeLinear", ["input_q", "scale", "input_zero"], ["x"]),
        helper.make_node("DequantizeLinear", ["kernel", "kernel_scale", "kernel_zero"], ["w"], axis=0),
        helper.make_node("Conv", ["x", "w", "kernel_bias"], ["features"]),
        helper.make_node("Clip", ["features", "low", "high"], ["active"])
        if clip
        else helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("QuantizeLinear", ["active", "scale", "zero"], ["active_q"]),
        helper.make_node("DequantizeLinear", ["active_q", "scale", "zero"], ["y"]),
        helper.make_node("ReduceMean", ["y", "axes"], ["mean"], keepdims=1),
        helper.make_node("QuantizeLinear", ["mean", "scale", "zero"], ["mean_q"]),
        helper.make_node("DequantizeLinear", ["mean_q", "scale", "zero"], ["z"]),
        helper.make_node("Reshape", ["z", "shape"], ["flat"]),
        helper.make_node("QuantizeLinear", ["flat", "scale", "zero"], ["flat_q"]),
        helper.make_node("DequantizeLinear", ["flat_q", "scale", "zero"], ["last"]),
        helper.make_node("DequantizeLinear", ["matrix", "kernel_scale", "kernel_zero"], ["v"], axis=0),
        helper.make_node("Gemm", ["last", "v", "kernel_bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 2, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def answers(content: bytes) -> Floats:
    """Return what ONNX Runtime makes of random images."""
    images = np.random.default_rng(1).standard_normal((4, 2, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    logits: Floats = session.run(None, {"input": images})[0]
    return logits


def operators(content: bytes) -> Counter[str]:
    """Return how many there are of each operator."""
    return Counter(node.op_type for node in onnx.load_from_string(content).graph.node)


def optimized(content: bytes, folder: Path) -> Counter[str]:
    """Return the operators that ONNX Runtime runs."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return operators((folder / "optimized.onnx").read_bytes())


def constants(content: bytes) -> dict[str, NDArray[np.generic]]:
    """Return the file's constants."""
    return {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer}


def test_a_file_answers_as_before_and_no_kernel_is_in_floating_point(tmp_path: Path) -> None:
    before = network().SerializeToString()
    content = for_integer_kernels(before)

    # Biases are off by half a step of at most SCALE * 0.03, and that may turn a rounding round.
    assert np.abs(answers(content) - answers(before)).max() <= 2 * SCALE
    assert np.abs(answers(content)).max() > 10 * SCALE
    ran = optimized(content, tmp_path)
    assert {"QLinearConv", "QLinearGlobalAveragePool", "QGemm"} <= ran.keys()
    assert not {"Conv", "FusedConv", "Relu", "ReduceMean", "Gemm"} & ran.keys()


def test_biases_are_written_in_steps_of_the_products() -> None:
    found = constants(for_integer_kernels(network().SerializeToString()))

    steps = np.rint(BIAS / (np.float32(SCALE) * WEIGHT_SCALES)).astype(np.int32)
    assert steps.tolist() == [1000, -2500, 67]
    integers = [value for value in found.values() if value.dtype == np.int32]
    assert len(integers) == 2  # the convolution's and the linear layer's, which shared one
    assert all(np.array_equal(value, steps) for value in integers)
    assert "kernel_bias" not in found


def test_a_bias_that_no_int32_holds_stays_in_floating_point() -> None:
    bias = np.array([0.5, 1e6, 0.1], np.float32)
    found = constants(for_integer_kernels(network(bias=bias).SerializeToString()))

    assert np.array_equal(found["kernel_bias"], bias)
    assert not [value for value in found.values() if value.dtype == np.int32]


def test_a_relu_goes_where_the_rounding_behind_it_has_no_negative_values() -> None:
    without, with_ = (for_integer_kernels(network(zero_point=zero).SerializeToString()) for zero in (0, 3))

    assert operators(without)["Relu"] == 0
    assert operators(with_)["Relu"] == 1


def test_a_relu_that_is_an_answer_stays() -> None:
    model = network()
    model.graph.output.append(helper.make_tensor_value_info("active", TensorProto.FLOAT, ["batch", 3, 6, 6]))
    content = for_integer_kernels(model.SerializeToString())

    assert operators(content)["Relu"] == 1
    assert np.abs(answers(content)).max() > 10 * SCALE


@pytest.mark.parametrize(("highest", "left"), [(255 * SCALE, 0), (13.0, 0), (6.0, 1)])
def test_a_clip_goes_where_the_rounding_behind_it_reaches_no_further(highest: float, left: int) -> None:
    before = network(clip=(0.0, highest)).SerializeToString()
    content = for_integer_kernels(before)

    assert operators(content)["Clip"] == left
    assert np.abs(answers(content) - answers(before)).max() <= 2 * SCALE


def test_a_layer_with_anything_in_floating_point_stays_as_it_is() -> None:
    model = network()
    for node in model.graph.node:
        if node.op_type == "Conv":
            node.input[0] = "input"
    content = for_integer_kernels(model.SerializeToString())

    conv = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "Conv")
    assert list(conv.input) == ["input", "w", "kernel_bias"]


def test_what_nothing_uses_is_left_out() -> None:
    assert "nobody" in constants(network().SerializeToString())
    assert "nobody" not in constants(for_integer_kernels(network().SerializeToString()))
