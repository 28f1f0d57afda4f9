"""float16 ONNX files from float32 ones."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import models
from packager.check import compare
from packager.data import Splits
from packager.export import onnx as onnx_export
from packager.export.onnx_half import half
from runner.errors import StepError
from tests.onnx_files import arrays, operators, run, snr_db


def test_the_file_is_half_as_large_and_answers_as_the_network_does(trained: nn.Module, few_splits: Splits) -> None:
    example = torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.take(slice(0, 1))))
    fp32 = onnx_export.export(trained, example, 20).content
    content = half(fp32)

    onnx.checker.check_model(content)
    assert len(content) <= 0.51 * len(fp32)
    assert {value.dtype for value in arrays(content).values() if value.ndim > 1} == {np.dtype(np.float16)}
    assert snr_db(content, trained, few_splits) >= 50


def test_inputs_and_outputs_stay_float32_and_the_batch_free() -> None:
    torch.manual_seed(0)
    fp32 = onnx_export.export(models.build("resnet8", 3, 10, 32, 32).eval(), torch.zeros(1, 3, 32, 32), 20).content
    content = half(fp32)

    graph = onnx.load_from_string(content).graph
    types = {each.type.tensor_type.elem_type for each in (*graph.input, *graph.output)}
    assert types == {onnx.TensorProto.FLOAT}
    assert [operators(content)[0], operators(content)[-1]] == ["Cast", "Cast"]
    for count in (1, 5):
        inputs = np.random.default_rng(0).normal(size=(count, 3, 32, 32)).astype(np.float32)
        assert compare(run(content, inputs), run(fp32, inputs)).snr_db >= 50


def test_a_file_that_is_no_onnx_file_is_refused() -> None:
    with pytest.raises(StepError):
        half(b"not an ONNX file")
