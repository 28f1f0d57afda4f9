"""What stays in fp32 because integers would cost more than they bring."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

import targets
from packager import builders, recipe
from packager.candidates import candidate
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize.onnx_graph import prepared
from packager.quantize.onnx_mixed import integers_where_they_pay
from runner.errors import StepError
from tests import contexts
from tests.onnx_files import operators, snr_db

X86 = targets.load("x86")


def left_and_made(module: nn.Module, channels: int, size: int) -> tuple[list[str], list[str]]:
    """Return the operators that stay in fp32, and those that become integers."""
    torch.manual_seed(0)
    model = prepared(onnx_export.export(module.eval(), torch.zeros(1, channels, size, size), 20).content)
    chosen = set(integers_where_they_pay(model, ()))
    nodes = model.graph.node
    return [n.op_type for n in nodes if n.name not in chosen], [n.op_type for n in nodes if n.name in chosen]


def test_plain_convolutions_become_integers_with_their_activations_and_pooling() -> None:
    module = nn.Sequential(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(64, 64, 3))
    assert left_and_made(module, 32, 32) == ([], ["Conv", "Relu", "MaxPool", "Conv"])


def test_a_first_layer_of_three_channels_and_the_depthwise_one_behind_it_stay_in_fp32() -> None:
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16),
        nn.ReLU(),
        nn.Conv2d(16, 128, 3, padding=1, stride=2),
        nn.ReLU(),
        nn.Conv2d(128, 128, 3),
    )
    assert left_and_made(module, 3, 64) == (["Conv", "Relu", "Conv", "Relu"], ["Conv", "Relu", "Conv"])


def test_where_nothing_pays_it_is_said_instead_of_made() -> None:
    with pytest.raises(StepError) as caught:
        left_and_made(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Hardswish()), 8, 32)
    assert str(caught.value) == (
        "no layer of the network is faster in int8 by what is known\n  try: int8.onnx or fp32.onnx"
    )


def test_what_the_recipe_keeps_stays_in_fp32() -> None:
    shape = ["batch", 32, 16, 16]
    weights = [
        helper.make_tensor(name, TensorProto.FLOAT, [32, 32, 3, 3], np.ones(9216, np.float32)) for name in ("a", "b")
    ]
    layers = [
        helper.make_node("Conv", [before, weight], [after], name=weight, pads=[1] * 4)
        for before, weight, after in (("x", "a", "y"), ("y", "b", "z"))
    ]
    values = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xyz"}
    graph = helper.make_graph(layers, "two", [values["x"]], [values["z"]], weights, value_info=[values["y"]])
    model = helper.make_model(graph)
    assert integers_where_they_pay(model, ()) == ["a", "b"]
    assert integers_where_they_pay(model, {"a"}) == ["b"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("int8-qoperator.onnx", {"QLinearConv", "QGemm"}), ("int8-mixed.onnx", {"DequantizeLinear", "Conv"})],
)
def test_the_other_styles_answer_as_the_network_and_twice_in_the_same_bytes(
    name: str, expected: set[str], *, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    content = builders.export(candidate(name), context, X86).content
    assert expected <= set(operators(content))
    assert snr_db(content, trained, few_splits) >= 20
    assert builders.export(candidate(name), context, X86).content == content
    onnx.checker.check_model(onnx.load_from_string(content))


@pytest.mark.parametrize("name", ["int8-qoperator.onnx", "int8-mixed.onnx"])
def test_another_technique_than_static_is_refused_with_the_way_out(
    name: str, *, trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path), recipe.Quantize(method="dynamic"))
    with pytest.raises(StepError) as caught:
        builders.export(candidate(name), context, X86)
    assert str(caught.value) == (
        f"{name} is made by ONNX Runtime's static quantization alone"
        '\n  try: --quantize static with onnx = "onnxruntime" and without [quantize.qat]'
    )


def test_onednns_file_says_so_and_is_not_the_targets_own(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    from packager.artifacts import build  # noqa: PLC0415 - torch's engine is set back below

    before = torch.backends.quantized.engine
    try:
        context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
        found = build(candidate("int8-onednn.torchscript"), context, replace(X86, engine="x86")).artifact
    finally:
        torch.backends.quantized.engine = before
    assert (found.engine, found.machines, found.path) == ("onednn", (), "artifacts/int8-onednn.torchscript.pt")
