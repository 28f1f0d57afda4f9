"""Which tensors of a TorchScript file are returned, and that they are what the network computes."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import targets
from packager.explain import probe_torchscript
from packager.explain.probe import Made
from packager.export import HalfPrecision, torchscript
from runner.errors import StepError
from runner.measure.tensors import Array
from runner.runtimes import Options
from runner.runtimes import torchscript as runtime
from tests import explained

EXAMPLE = torch.from_numpy(explained.INPUTS[:1])


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


def returned(made: Made, folder: Path, options: Options) -> tuple[Array, ...]:
    path = folder / "probe.pt"
    path.write_bytes(made.content)
    return runtime.load(path, options).tensors(explained.INPUTS[:1])


def test_what_is_written_in_place_later_is_returned_as_it_was_computed(tmp_path: Path) -> None:
    module = explained.network()
    made = probe_torchscript.make(torchscript.export(module, EXAMPLE).content, None)
    found = returned(made, tmp_path, Options(threads=1))
    convolution = made.layers.index(next(it for it in made.layers if it.operator == "aten::_convolution"))
    rectified = made.layers.index(next(it for it in made.layers if it.operator == "aten::relu_"))
    before, after = found[1 + convolution], found[1 + rectified]
    with torch.no_grad():
        norm, conv = module.get_submodule("norm"), module.get_submodule("conv")
        expected = norm(conv(EXAMPLE)).numpy()
    np.testing.assert_allclose(np.asarray(before, np.float64), expected, rtol=1e-4, atol=1e-5)
    assert float(expected.min()) < 0
    np.testing.assert_array_equal(np.maximum(np.asarray(before, np.float32), 0), after)


def test_layers_are_called_as_in_a_profile() -> None:
    content = explained.files(targets.load("arm-qnnpack"), explained.network())["int8.torchscript"]
    torch.backends.quantized.engine = "fbgemm"
    made = probe_torchscript.make(content, "qnnpack")
    assert [layer.name for layer in made.layers] == [
        "aten::quantize_per_tensor 1",
        "quantized::conv2d_relu 1",
        "quantized::conv2d_relu 2",
        "quantized::conv2d 1",
        "quantized::add_relu 1",
        "aten::adaptive_avg_pool2d 1",
        "quantized::linear 1",
    ]
    assert torch.backends.quantized.engine == "fbgemm"


def test_quantized_tensors_are_returned_as_their_integers(tmp_path: Path) -> None:
    content = explained.files(targets.load("arm-qnnpack"), explained.network())["int8.torchscript"]
    logits, *layers = returned(
        probe_torchscript.make(content, "qnnpack"), tmp_path, Options(threads=1, engine="qnnpack")
    )
    assert {layer.dtype.name for layer in layers} == {"uint8"}
    # The last are the logits before they are turned into floats: equal ones are equal there, and only there.
    steps = np.unique(np.asarray(layers[-1], np.int64))
    assert len(steps) == len(np.unique(logits))


def test_bfloat16_is_returned_as_the_float32_that_each_is(tmp_path: Path) -> None:
    module = HalfPrecision(explained.network(), torch.bfloat16)
    made = probe_torchscript.make(torchscript.export(module, EXAMPLE).content, None)
    found = returned(made, tmp_path, Options(threads=1))
    assert {value.dtype.name for value in found} == {"float32"}
    bits = np.ascontiguousarray(np.asarray(found[1], np.float32)).view(np.uint32)
    assert not (bits & 0xFFFF).any()


class Scaled(nn.Module):
    """Multiplies by a weight, and does nothing else."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what is scaled."""
        return x * self.weight


def saved(*, frozen: bool) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        traced = torch.jit.trace(Scaled().eval(), EXAMPLE)  # type: ignore[no-untyped-call]  # torch ships it so
        torch.jit.save(torch.jit.freeze(traced) if frozen else traced, file)
    return file.getvalue()


@pytest.mark.parametrize(("frozen", "why"), [(True, "it has one operator"), (False, "it is not frozen")])
def test_what_has_nothing_to_show_is_refused(frozen: bool, why: str) -> None:
    with pytest.raises(StepError) as caught:
        probe_torchscript.make(saved(frozen=frozen), None)
    assert str(caught.value) == f"none of its layers can be shown: {why}\n  try: compare the logits alone"
