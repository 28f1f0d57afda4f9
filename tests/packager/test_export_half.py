"""Half precision behind a float32 face."""

import io
import math

import pytest
import torch
from torch import Tensor, nn

import models
from packager.check import compare
from packager.data import Splits
from packager.export import HalfPrecision, torchscript
from tests import modules


@pytest.fixture
def images(few_splits: Splits) -> Tensor:
    """The calibration samples as a network sees them."""
    return torch.from_numpy(few_splits.preprocess.apply(few_splits.calibration.array()))


@pytest.fixture
def resnet8(images: Tensor) -> nn.Module:
    """A network with random weights, and the batch-norm statistics of the images."""
    torch.manual_seed(0)
    return modules.settled(models.build("resnet8", 1, 4, 28, 28), images)


@pytest.mark.parametrize(("dtype", "least_db"), [(torch.float16, 50), (torch.bfloat16, 30)])
def test_a_traced_and_frozen_file_answers_as_the_fp32_network_does(
    dtype: torch.dtype, least_db: float, resnet8: nn.Module, images: Tensor
) -> None:
    content = torchscript.export(HalfPrecision(resnet8, dtype), images[:1]).content
    frozen = torch.jit.load(io.BytesIO(content))  # type: ignore[no-untyped-call]  # torch ships it so
    with torch.no_grad():
        answers, expected = frozen(images), resnet8(images)

    assert answers.dtype == torch.float32
    found = compare(answers.numpy(), expected.numpy()).snr_db
    assert least_db <= found < math.inf
    assert len(content) < 0.62 * sum(4 * value.numel() for value in resnet8.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_weight_has_the_type_and_the_network_keeps_its_own(dtype: torch.dtype, resnet8: nn.Module) -> None:
    half = HalfPrecision(resnet8, dtype)

    assert {value.dtype for value in half.parameters()} == {dtype}
    assert {value.dtype for value in resnet8.parameters()} == {torch.float32}
    assert not half.training


def test_float16_is_what_half_precision_means_where_nothing_is_said(resnet8: nn.Module) -> None:
    assert {value.dtype for value in HalfPrecision(resnet8).parameters()} == {torch.float16}
