"""Layers of ONNX files by the names that their network has for them, whoever exported it."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import models
from packager.export import onnx as onnx_export
from packager.quantize.onnx_graph import kept, layers, prepared
from runner.errors import StepError


class Attentive(nn.Module):
    """Linear layers as the exporter changes them: transposed, packed together, used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(28, 2, 32, batch_first=True)
        self.twice = nn.Linear(28, 28)
        self.head = nn.Linear(28, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x 4."""
        rows = self.encoder(x.squeeze(1))
        logits: Tensor = self.head(self.twice(self.twice(rows)).mean(1))
        return logits


def exported(module: nn.Module, shape: tuple[int, ...]) -> bytes:
    torch.manual_seed(0)
    return onnx_export.export(module.eval(), torch.randn(1, *shape), 20).content


def constant(name: str, *shape: int) -> TensorProto:
    random = np.random.default_rng(list(name.encode()))
    return numpy_helper.from_array(random.random(shape, np.float32) + 0.5, name)


@pytest.fixture(scope="module")
def foreign() -> bytes:
    """A file of another maker: batch norms and scales not folded, a MatMul with an Add, nodes without names."""
    constants = [
        *(constant("features.0.weight", 4, 3, 3, 3), constant("features.0.bias", 4)),
        *(constant(f"features.1.{part}", 4) for part in ("weight", "bias", "mean", "var")),
        *(constant("second_w", 4, 4, 3, 3), constant("scale", 4, 1, 1)),
        *(constant("onnx::Conv_497", 4, 4, 1, 1), constant("shift", 4, 1, 1)),
        *(constant("fc.weight", 4, 8), constant("fc.bias", 8), constant("onnx::MatMul_12", 8, 5)),
    ]
    nodes = [
        helper.make_node("Conv", ["pixels", "features.0.weight", "features.0.bias"], ["a"]),
        helper.make_node(
            "BatchNormalization", ["a", *(f"features.1.{p}" for p in ("weight", "bias", "mean", "var"))], "b"
        ),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "second_w"], ["d"]),
        helper.make_node("Mul", ["d", "scale"], ["e"]),
        helper.make_node("Conv", ["e", "onnx::Conv_497"], ["f"], "/third/Conv"),
        helper.make_node("Add", ["f", "shift"], ["g"]),
        helper.make_node("GlobalAveragePool", ["g"], ["h"]),
        helper.make_node("Flatten", ["h"], ["i"]),
        helper.make_node("MatMul", ["i", "fc.weight"], ["j"]),
        helper.make_node("Add", ["j", "fc.bias"], ["k"]),
        helper.make_node("MatMul", ["k", "onnx::MatMul_12"], ["answers"]),
    ]
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["N", 5])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_layers_have_the_names_of_their_modules() -> None:
    module = models.build("resnet8", 3, 10, 32, 32)
    found = layers(prepared(exported(module, (3, 32, 32))))

    modules = [name for name, layer in module.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert sorted(layer.name for layer in found) == sorted(modules)
    assert {layer.operator for layer in found} == {"Conv", "Gemm"}


def test_linear_layers_whose_weight_was_transposed_are_known_by_their_bias() -> None:
    found = layers(prepared(exported(Attentive(), (1, 28, 28))))

    assert [layer.name for layer in found] == [
        "encoder.self_attn.in_proj",
        "encoder.self_attn.out_proj",
        "encoder.linear1",
        "encoder.linear2",
        "twice",
        "twice",
        "head",
    ]
    assert len({layer.node for layer in found}) == len(found)


def test_a_bias_that_several_layers_share_names_none_of_them() -> None:
    module = Attentive()
    for layer in (module.twice, module.encoder.linear2):
        nn.init.zeros_(layer.bias)
    names = [layer.name for layer in layers(prepared(exported(module, (1, 28, 28))))]

    assert names[:3] == ["encoder.self_attn.in_proj", "encoder.self_attn.out_proj", "encoder.linear1"]
    assert all(name.startswith("node_MatMul") for name in names[3:6])


def test_what_is_folded_into_a_weight_does_not_change_its_name(foreign: bytes) -> None:
    model = prepared(foreign)

    assert [node.op_type for node in model.graph.node if node.op_type in ("BatchNormalization", "Mul", "Add")] == []
    assert [layer.name for layer in layers(model)] == ["features.0", "second", "/third/Conv", "fc", "MatMul_7"]


def test_each_node_has_a_name_of_its_own(foreign: bytes) -> None:
    names = [node.name for node in prepared(foreign).graph.node]

    assert all(names)
    assert len(set(names)) == len(names)


def test_a_pattern_stands_for_a_layer_or_the_part_that_it_is_in(foreign: bytes) -> None:
    found = layers(prepared(foreign))

    assert [layer.name for layer in kept(found, ["features", "f?"])] == ["features.0", "fc"]
    assert kept(found, []) == ()


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        ("feature.0", "did you mean 'features.0'?"),
        ("xyz", "names such as features.0, second, "),
    ],
)
def test_a_pattern_that_names_nothing_is_refused(pattern: str, advice: str, foreign: bytes) -> None:
    with pytest.raises(StepError) as caught:
        kept(layers(prepared(foreign)), ["fc", pattern])

    assert str(caught.value).startswith(f"keep_fp32: {pattern!r} names no layer of the network\n  try: {advice}")


def test_a_file_that_is_no_onnx_file_is_refused() -> None:
    with pytest.raises(StepError, match="ONNX Runtime cannot quantize the network"):
        prepared(b"not an ONNX file")


def test_the_prepared_file_is_whole(foreign: bytes) -> None:
    onnx.checker.check_model(prepared(foreign))
