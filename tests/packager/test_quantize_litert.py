"""int8 LiteRT files: that they are integers, how far their answers are off, and what of a recipe they hear."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ai_edge_litert import schema_py_generated as schema
from torch import nn

import targets
from packager import builders, candidates, recipe
from packager.data import Splits
from packager.export import Exported, litert
from packager.export.litert_graph import CODES, Graph
from packager.quantize import Order
from packager.quantize import litert as quantizer
from packager.quantize.calibration import Calibration
from runner.errors import StepError
from runner.progress import Silent
from runner.runtimes import Options
from runner.runtimes import litert as runtime
from tests import contexts

INT8, FLOAT32 = schema.TensorType.INT8, schema.TensorType.FLOAT32
ARM = targets.load("arm-qnnpack")


@pytest.fixture(scope="module")
def order(few_splits: Splits) -> Order:
    calibration = Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())
    return Order(target=ARM, plan=recipe.Quantize(), calibration=calibration)


@pytest.fixture(scope="module")
def example(order: Order) -> torch.Tensor:
    return torch.from_numpy(order.calibration.example())


@pytest.fixture(scope="module")
def converted(trained: nn.Module, example: torch.Tensor) -> bytes:
    return litert.convert(trained, example)


@pytest.fixture(scope="module")
def int8(converted: bytes, trained: nn.Module, order: Order) -> bytes:
    return quantizer.quantize(converted, trained, order)


def snr_db(content: bytes, module: nn.Module, order: Order, folder: Path) -> float:
    """Return how far the answers are from the network's."""
    path = folder / "net.tflite"
    path.write_bytes(content)
    (inputs,) = order.calibration.batches("", 70)
    expected = module(torch.from_numpy(inputs)).detach().numpy()
    off = runtime.load(path, Options(threads=1)).run(inputs) - expected
    return float(10 * np.log10((expected**2).sum() / (off**2).sum()))


def weights(content: bytes) -> Sequence[tuple[int, int]]:
    """Return the type and the number of scales of the weights of each layer."""
    graph = Graph(content)
    layers = [each for code in (CODES.CONV_2D, CODES.FULLY_CONNECTED) for each in graph.operators(code)]
    tensors = [graph.graph.tensors[each.inputs[1]] for each in layers]
    return [(each.type, len(each.quantization.scale) if each.type == INT8 else 0) for each in tensors]


def test_all_is_integers_between_a_float32_face(int8: bytes) -> None:
    graph = Graph(int8)
    ends = {each for tensors in (graph.graph.inputs, graph.graph.outputs) for each in tensors}
    assert {graph.graph.tensors[each].type for each in ends} == {FLOAT32}
    layers = [each for each in graph.graph.operators if graph.code(each) in (CODES.CONV_2D, CODES.FULLY_CONNECTED)]
    assert {graph.graph.tensors[each.outputs[0]].type for each in layers} == {INT8}
    assert {kind for kind, _ in weights(int8)} == {INT8}


def test_int8_is_near_the_network(int8: bytes, trained: nn.Module, order: Order, tmp_path: Path) -> None:
    assert 25 < snr_db(int8, trained, order, tmp_path) < 60


def test_the_same_is_made_again(int8: bytes, converted: bytes, trained: nn.Module, order: Order) -> None:
    assert quantizer.quantize(converted, trained, order) == int8


def test_weights_have_a_scale_per_channel_or_one(
    int8: bytes, converted: bytes, trained: nn.Module, order: Order
) -> None:
    assert max(scales for _, scales in weights(int8)) > 1
    whole = replace(order, plan=recipe.Quantize(per_channel=False))
    assert {scales for _, scales in weights(quantizer.quantize(converted, trained, whole))} == {1}


@pytest.mark.parametrize(("layer", "place"), [("hidden", -2), ("linear", -1)])
def test_a_layer_that_is_kept_is_in_fp32_and_no_other(
    layer: str, place: int, int8: bytes, converted: bytes, trained: nn.Module, order: Order
) -> None:
    kept = quantizer.quantize(converted, trained, replace(order, plan=recipe.Quantize(keep_fp32=(layer,))))
    expected = list(weights(int8))
    expected[place] = (FLOAT32, 0)
    assert weights(kept) == expected


def test_a_pattern_that_names_nothing_is_refused(converted: bytes, trained: nn.Module, order: Order) -> None:
    with pytest.raises(StepError, match="'nowhere' names no layer of the network"):
        quantizer.quantize(converted, trained, replace(order, plan=recipe.Quantize(keep_fp32=("nowhere",))))


@pytest.mark.parametrize("ranges", ["percentile", "moving-average"])
def test_ranges_are_those_of_the_recipe(
    ranges: recipe.Ranges, int8: bytes, converted: bytes, trained: nn.Module, order: Order, tmp_path: Path
) -> None:
    other = quantizer.quantize(converted, trained, replace(order, plan=recipe.Quantize(ranges=ranges)))
    assert other != int8
    assert snr_db(other, trained, order, tmp_path) > 20


def test_dynamic_quantization_leaves_activations_in_float32(
    converted: bytes, trained: nn.Module, order: Order, tmp_path: Path
) -> None:
    made = quantizer.quantize(converted, trained, replace(order, plan=recipe.Quantize(method="dynamic")))
    assert {kind for kind, _ in weights(made)} == {INT8}
    assert not list(Graph(made).operators(CODES.QUANTIZE))
    assert snr_db(made, trained, order, tmp_path) > 25


def test_a_network_is_converted_once_for_both_and_corrected_biases_are_heard(
    trained: nn.Module, few_splits: Splits, tmp_path: Path
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))

    def made(name: str, plan: recipe.Quantize) -> Exported:
        return builders.export(candidates.NAMES[name], replace(context, quantize=plan), ARM)

    fp32, int8 = (made(name, recipe.Quantize()) for name in ("fp32.litert", "int8.litert"))
    assert (fp32.dynamic_batch, int8.dynamic_batch) == (True, True)
    assert len(list((tmp_path / "converted.litert").glob("*/converted.tflite"))) == 1
    assert len(int8.content) < len(fp32.content) / 2
    assert made("int8.litert", recipe.Quantize(correct_bias=True)).content != int8.content
