"""Which operators become integers: of networks with attention, their products alone."""

import onnx
import pytest
import torch
from torch import nn

import targets
from packager import recipe
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order, onnx_static
from packager.quantize.calibration import Calibration
from packager.quantize.onnx_operators import ALL, PRODUCTS, operators
from runner.progress import Silent
from tests import modules
from tests.onnx_files import snr_db

IMAGE = torch.zeros(2, 1, 28, 28)


def exported(module: nn.Module) -> bytes:
    return onnx_export.export(module.eval(), IMAGE[:1], 20).content


def test_products_are_enough_where_there_is_attention() -> None:
    torch.manual_seed(0)
    assert operators(onnx.load_from_string(exported(modules.Attention()))) == PRODUCTS == ["Conv", "Gemm", "MatMul"]


@pytest.mark.parametrize("kind", [modules.Residual, modules.Normalized])
def test_of_other_networks_all_that_can_become_integers(kind: type[nn.Module]) -> None:
    last_word = nn.Sequential(kind(), nn.Softmax(1))
    assert operators(onnx.load_from_string(exported(kind()))) == ALL
    assert operators(onnx.load_from_string(exported(last_word))) == ALL
    assert {"Add", "Softmax", *PRODUCTS} < set(ALL)


@pytest.mark.parametrize("name", ["x86", "arm-qnnpack"])
def test_every_product_of_attention_is_of_integers_and_no_normalization(name: str, few_splits: Splits) -> None:
    torch.manual_seed(0)
    module, target = modules.Attention().eval(), targets.load(name)
    calibration = Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())
    order = Order(target=target, plan=recipe.Quantize(), calibration=calibration)

    content = onnx_static.quantize(exported(module), order)

    nodes = onnx.load_from_string(content).graph.node
    producers = {output: node.op_type for node in nodes for output in node.output}
    read = {
        kind: {producers.get(name) for node in nodes if node.op_type == kind for name in node.input[:2]}
        for kind in ("MatMul", "Gemm", "LayerNormalization")
    }
    assert read["MatMul"] == read["Gemm"] == {"DequantizeLinear"}
    assert "DequantizeLinear" not in read["LayerNormalization"]
    assert snr_db(content, module, few_splits, target) >= 30
