"""Which layers int8 harms most."""

import math
import time

import numpy as np
import pytest
import torch
from torch import nn

import models
import targets
from packager import recipe
from packager.data import Samples, Splits
from packager.export import onnx as onnx_export
from packager.quantize import Order
from packager.quantize.calibration import Calibration
from packager.quantize.sensitivity import SAMPLES, sensitivity
from runner.errors import StepError
from runner.manifest import Preprocess
from runner.packing import LayerDamage
from runner.progress import Silent
from tests.fakes import RecordingProgress

X86 = targets.load("x86")
PREPROCESS = Preprocess(channels=3, height=32, width=32, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3, resize="none")


@pytest.fixture(scope="module")
def spoiled(trained: nn.Module, few_splits: Splits) -> bytes:
    """The trained network with one channel between `conv2` and `hidden` a hundred times as large, and taken back."""
    state = {name: value.clone() for name, value in trained.state_dict().items()}
    state["conv2.weight"][0] *= 100
    state["conv2.bias"][0] *= 100
    pixels = state["hidden.weight"].shape[1] // state["conv2.bias"].shape[0]
    state["hidden.weight"][:, :pixels] /= 100
    module = models.build("wide_cnn", 1, 4, 28, 28).eval()
    module.load_state_dict(state)
    example = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.take(slice(0, 1))))
    return onnx_export.export(module, example, 20).content


def order(splits: Splits, plan: recipe.Quantize | None = None, progress: RecordingProgress | None = None) -> Order:
    calibration = Calibration(samples=splits.calibration, preprocess=splits.preprocess, progress=progress or Silent())
    return Order(target=X86, plan=plan or recipe.Quantize(), calibration=calibration)


def decibels(damage: LayerDamage) -> float:
    return math.inf if damage.snr_db is None else damage.snr_db


def test_the_layers_at_a_tensor_whose_channels_differ_most_are_the_first(spoiled: bytes, few_splits: Splits) -> None:
    damages = sensitivity(spoiled, order(few_splits))

    assert {damage.layer for damage in damages[:2]} == {"conv2", "hidden"}
    assert {damage.layer for damage in damages[2:]} == {"conv1", "linear"}
    assert [decibels(damage) for damage in damages] == sorted(decibels(damage) for damage in damages)
    assert decibels(damages[1]) < decibels(damages[2]) - 10
    assert all(0 <= damage.changed <= 1 for damage in damages)


def test_layers_that_stay_in_fp32_are_not_tried(spoiled: bytes, few_splits: Splits) -> None:
    damages = sensitivity(spoiled, order(few_splits, recipe.Quantize(keep_fp32=("conv*",))))

    assert {damage.layer for damage in damages} == {"hidden", "linear"}
    with pytest.raises(StepError, match="'con' names no layer"):
        sensitivity(spoiled, order(few_splits, recipe.Quantize(keep_fp32=("con",))))


def test_ranges_are_collected_once_and_each_layer_is_told(spoiled: bytes, few_splits: Splits) -> None:
    progress = RecordingProgress()
    sensitivity(spoiled, order(few_splits, progress=progress))

    assert progress.tasks == [("calibrate onnx", 70, 70), ("quantize one layer at a time", 4, 4)]


@pytest.mark.parametrize("operators", ["qdq", "qoperator"])
def test_the_form_of_the_file_makes_no_difference(
    operators: recipe.OnnxOperators, spoiled: bytes, few_splits: Splits
) -> None:
    assert sensitivity(spoiled, order(few_splits, recipe.Quantize(operators=operators))) == sensitivity(
        spoiled, order(few_splits)
    )


def test_a_file_that_takes_one_sample_is_given_one(few_splits: Splits, spoiled: bytes) -> None:
    together = sensitivity(spoiled, order(few_splits))
    alone = sensitivity(spoiled, order(few_splits), dynamic_batch=False)

    assert [damage.layer for damage in alone] == [damage.layer for damage in together]


def test_a_resnet_of_ten_layers_takes_seconds() -> None:
    torch.manual_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (2 * SAMPLES, 3, 32, 32), np.uint8)
    calibration = Calibration(
        samples=Samples.whole(images, np.zeros(len(images), np.int64)), preprocess=PREPROCESS, progress=Silent()
    )
    module = models.build("resnet8", 3, 10, 32, 32).eval()
    content = onnx_export.export(module, torch.from_numpy(calibration.example()), 20).content
    began = time.process_time()
    damages = sensitivity(content, Order(target=X86, plan=recipe.Quantize(), calibration=calibration))

    assert len(damages) == 10
    assert time.process_time() - began < 30
