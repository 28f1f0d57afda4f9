"""What a recipe does to the network on its road to a file."""

from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import targets
from packager import builders, recipe
from packager.data import Splits
from runner.manifest import Candidate, Format, Precision
from tests import contexts


@pytest.mark.parametrize(
    ("precision", "format_", "method", "corrects"),
    [
        ("int8", "onnx", "static", True),
        ("int8", "torchscript", "static", True),
        ("int8", "onnx", "dynamic", False),
        ("int8", "torchscript", "dynamic", False),
        ("int8-weights", "onnx", "static", False),
        ("int4-weights", "onnx", "static", False),
    ],
)
def test_biases_are_corrected_for_static_int8_alone(
    precision: Precision,
    format_: Format,
    method: recipe.QuantizeMethod,
    corrects: bool,
    *,
    trained: nn.Module,
    few_splits: Splits,
    tmp_path: Path,
) -> None:
    context = contexts.context(trained, contexts.bench(few_splits, tmp_path))
    candidate, target = Candidate(precision=precision, format=format_), targets.load("x86")
    plans = [recipe.Quantize(method=method, correct_bias=wish) for wish in (False, True)]
    files = [builders.export(candidate, replace(context, quantize=plan), target).content for plan in plans]

    assert (files[0] != files[1]) == corrects
