"""In which numbers a training multiplies: half precision where the device gains by it, and what a device cannot do."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from packager import mixed_precision as module
from packager.mixed_precision import mixed_precision
from packager.recipe import Arithmetic
from runner import device
from runner.errors import StepError
from runner.facts import DeviceFacts

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def having(monkeypatch: pytest.MonkeyPatch, *features: str) -> None:
    """Let this CPU have other instructions than it has."""
    facts: DeviceFacts = replace(device.facts(), features=features)
    monkeypatch.setattr(device, "facts", lambda: facts)


@pytest.mark.parametrize(("arithmetic", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_what_the_recipe_names_is_taken(arithmetic: Arithmetic, dtype: torch.dtype) -> None:
    found = mixed_precision(arithmetic, CPU)
    assert (found.device, found.dtype, found.scaler.is_enabled()) == (CPU, dtype, False)


@pytest.mark.parametrize(
    ("features", "dtype"),
    [
        (("avx2", "avx512_vnni"), torch.float32),
        ((), torch.float32),
        (("avx2", "amx_bf16"), torch.bfloat16),
        (("avx512_bf16",), torch.bfloat16),
        (("asimddp", "bf16"), torch.bfloat16),
    ],
)
def test_a_cpu_takes_bfloat16_where_it_has_instructions_for_it(
    features: tuple[str, ...], dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    having(monkeypatch, *features)
    assert mixed_precision("auto", CPU).dtype == dtype


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_a_gpu_takes_bfloat16_where_it_has_it_and_else_float16_with_a_scaled_loss(
    has_bf16: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return has_bf16

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert module._dtype("auto", CUDA) == dtype
    assert asked == [False]  # what is emulated is slow


def test_float16_is_refused_on_a_cpu_with_the_way_out() -> None:
    with pytest.raises(StepError) as caught:
        mixed_precision("fp16", CPU)
    assert str(caught.value) == (
        'float16 is for training on CUDA, and this is a CPU\n  try: arithmetic = "bf16" or "auto"'
    )


@pytest.mark.parametrize(("arithmetic", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_computed_in_it_and_weights_kept_in_fp32(arithmetic: Arithmetic, dtype: torch.dtype) -> None:
    found = mixed_precision(arithmetic, CPU)
    torch.manual_seed(0)
    linear = nn.Linear(4, 2)
    before = linear.weight.detach().clone()
    optimizer = torch.optim.SGD(linear.parameters(), 0.5)
    with found.autocast():
        answers = linear(torch.ones(3, 4))
        loss = answers.float().square().sum()
    found.step(loss, optimizer)
    assert answers.dtype == dtype
    assert (linear.weight.dtype, linear.weight.grad is not None) == (torch.float32, True)
    assert not torch.equal(linear.weight, before)
    with torch.no_grad():
        assert linear(torch.ones(3, 4)).dtype == torch.float32  # outside, nothing has changed


def test_each_step_starts_from_gradients_of_zero() -> None:
    found = mixed_precision("fp32", CPU)
    weight = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], 1.0)
    for _ in range(3):
        found.step(3 * weight.sum(), optimizer)
    assert weight.item() == -9.0
