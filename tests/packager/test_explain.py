"""The first layer that diverges, found on real artifacts: two machines are played by two copies on this one."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

import targets
from packager import explain
from packager.explain import Divergence, Probe, Tensors
from runner.bundle import Bundle
from runner.errors import StepError, UsageError
from runner.measure import tensors
from runner.render.page import as_text
from runner.worker.order import Probing
from tests import explained

NAMES = ("fp32.onnx", "int8.onnx", "fp32.torchscript", "int8.torchscript")
SAMPLE = 2


@pytest.fixture(autouse=True, scope="module")
def _engine() -> Iterator[None]:
    before = torch.backends.quantized.engine
    yield
    torch.backends.quantized.engine = before


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Bundle]:
    """A bundle of the network for each of two targets."""
    folder = tmp_path_factory.mktemp("bundles")
    return {
        name: explained.bundle(
            folder / f"{name}.edgepack", explained.files(targets.load(name), explained.network()), name
        )
        for name in ("x86", "arm-qnnpack")
    }


def on_device(source: Bundle, probe: Probe) -> Tensors:
    """Return what the runner finds, as on a board."""
    return tensors.read(tensors.take(source, probe.artifact, Probing(file=probe.path, sample=SAMPLE), 1), "board")


def divergence(source: Bundle, device: Bundle, name: str, folder: Path) -> Divergence:
    """Return where a device that holds other artifacts, and their probes, diverges from the host."""
    ours, theirs = (folder / side for side in ("host", "device"))
    for each in (ours, theirs):
        each.mkdir()
    probe, other = explain.probe(source, name, SAMPLE, ours), explain.probe(device, name, SAMPLE, theirs)
    assert probe.layers == other.layers
    host = explain.host_tensors(source, probe, SAMPLE)
    return explain.first_divergence(probe, SAMPLE, host, on_device(device, other))


def words(found: Divergence) -> str:
    """Return a page without its line breaks."""
    return " ".join(as_text(explain.divergence_page(found)).split())


@pytest.mark.parametrize("target", ["x86", "arm-qnnpack"])
@pytest.mark.parametrize("name", NAMES)
def test_a_probe_answers_bit_for_bit_as_its_artifact(
    name: str, target: str, sources: Mapping[str, Bundle], tmp_path: Path
) -> None:
    probe = explain.probe(sources[target], name, SAMPLE, tmp_path)
    found = explain.host_tensors(sources[target], probe, SAMPLE)
    assert np.array_equal(found.logits, found.probed[0])
    assert len(found.probed) == 1 + len(probe.layers) > 4
    if name.startswith("int8"):
        assert {value.dtype.name for value in found.probed[1:]} <= {"uint8", "int8"}


@pytest.mark.parametrize("name", NAMES)
def test_one_machine_computes_every_layer_alike_twice(name: str, sources: Mapping[str, Bundle], tmp_path: Path) -> None:
    found = divergence(sources["x86"], sources["x86"], name, tmp_path)
    assert found.first is None
    assert not any(layer.differing for layer in (*found.layers, found.logits))
    assert (
        f"{name}: every one of its {len(found.layers)} layers is identical, bit for bit, and so are the logits: both "
        "machines compute the same for this sample."
    ) in words(found)


def with_another_weight(content: bytes) -> bytes:
    """Return an int8 file in which one weight of the second convolution is another."""
    model = onnx.load_from_string(content)
    convolutions = [each for each in model.graph.initializer if each.data_type == onnx.TensorProto.INT8 and each.dims]
    weight = [each for each in convolutions if len(each.dims) == 4][1]
    values = numpy_helper.to_array(weight).copy()
    values[3, 2, 1, 1] += -90 if values[3, 2, 1, 1] > 0 else 90
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    changed: bytes = model.SerializeToString()
    return changed


def test_of_an_onnx_file_with_one_other_weight_exactly_that_layer_is_named(
    sources: Mapping[str, Bundle], tmp_path: Path
) -> None:
    source = sources["x86"]
    changed = {name: source.read(f"artifacts/{name}") for name in NAMES}
    changed["int8.onnx"] = with_another_weight(changed["int8.onnx"])
    device = explained.bundle(tmp_path / "device.edgepack", changed)
    found = divergence(source, device, "int8.onnx", tmp_path)
    assert found.first is not None
    first = found.layers[found.first]
    assert (found.first, first.layer) == (2, explain.Layer(name="conv1", operator="QLinearConv"))
    assert (first.values, first.integer) == (8 * 4 * 4, True)
    # One channel of eight can differ.
    assert 0 < first.differing <= 4 * 4
    assert "layers 1 and 2 are identical; the first that diverges is conv1 (QLinearConv): " in words(found)
    assert f" of 128 values differ by at most {first.largest:g} steps." in words(found)


def heavier(name: str) -> Callable[[nn.Module], None]:
    """Return a change of one weight of a layer."""

    def change(module: nn.Module) -> None:
        weight = module.get_parameter(f"{name}.weight")
        weight[3, 2, 1, 1] += 2 * weight.abs().max()

    return change


@pytest.mark.parametrize(
    ("name", "place", "layer"),
    [("fp32.torchscript", 2, "aten::_convolution 2"), ("int8.torchscript", 2, "quantized::conv2d_relu 2")],
)
def test_of_a_torchscript_file_with_one_other_weight_exactly_that_layer_is_named(
    name: str, place: int, layer: str, sources: Mapping[str, Bundle], tmp_path: Path
) -> None:
    changed = explained.files(targets.load("arm-qnnpack"), explained.network(heavier("conv1")))
    device = explained.bundle(tmp_path / "device.edgepack", changed, "arm-qnnpack")
    found = divergence(sources["arm-qnnpack"], device, name, tmp_path)
    assert found.first == place
    assert found.layers[place].layer.name == layer
    assert f"layers 1 and 2 are identical; the first that diverges is {layer}: " in words(found)


def test_an_unknown_artifact_is_refused_with_the_nearest_name(sources: Mapping[str, Bundle], tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        explain.probe(sources["x86"], "int8.onx", SAMPLE, tmp_path)
    assert str(caught.value) == "net: no artifact 'int8.onx' in this bundle\n  try: did you mean 'int8.onnx'?"


@pytest.mark.parametrize("name", ["fp32.onnx", "fp32.torchscript"])
def test_what_is_no_network_is_refused(name: str, tmp_path: Path) -> None:
    source = explained.bundle(tmp_path / "net.edgepack", {name: b"no network at all" * 100})
    with pytest.raises(StepError, match=r"^none of its layers can be shown: \w+: ") as caught:
        explain.probe(source, name, SAMPLE, tmp_path)
    assert caught.value.advice == "compare the logits alone"
