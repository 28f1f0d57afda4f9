"""The first layer that diverges, found on real artifacts: two machines are played by two copies on this one."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

import targets
from packager import explain
from packager.explain import Tensors
from runner.bundle import Bundle
from runner.measure import tensors
from runner.render.page import as_text
from runner.worker.order import Probing
from tests import explained

NAMES = ("fp32.onnx", "int8.onnx", "fp32.torchscript", "int8.torchscript")


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


def on_device(source: Bundle, probe: explain.Probe, sample: int) -> Tensors:
    """Return what the runner finds, as on a board."""
    content = tensors.take(source, probe.artifact, Probing(file=probe.path, sample=sample), 1)
    return tensors.read(content, "board")


@pytest.mark.parametrize("target", ["x86", "arm-qnnpack"])
@pytest.mark.parametrize("name", NAMES)
def test_a_probe_answers_bit_for_bit_as_its_artifact(
    name: str, target: str, sources: Mapping[str, Bundle], tmp_path: Path
) -> None:
    probe = explain.probe(sources[target], name, 2, tmp_path)
    found = explain.host_tensors(sources[target], probe, 2)
    assert np.array_equal(found.logits, found.probed[0])
    assert len(found.probed) == 1 + len(probe.layers)
    if name.startswith("int8"):
        assert {value.dtype.name for value in found.probed[1:]} <= {"uint8", "int8"}


def test_one_machine_computes_every_layer_alike_twice(sources: Mapping[str, Bundle], tmp_path: Path) -> None:
    source = sources["x86"]
    probe = explain.probe(source, "int8.onnx", 2, tmp_path)
    found = explain.first_divergence(probe, 2, explain.host_tensors(source, probe, 2), on_device(source, probe, 2))
    assert found.first is None
    assert (
        "int8.onnx: all 7 layers are identical bit for bit: both machines compute the same, and a difference in the "
        "reports comes from another sample"
    ) in as_text(explain.divergence_page(found)).replace("\n", " ")
