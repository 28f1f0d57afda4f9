"""The CUDA devices by their driver, which is a stand-in here."""

from pathlib import Path

import pytest

from runner import device
from runner.device.cuda import CudaDevice, cuda_devices, load_driver
from tests.nvidia import FakeCuda, FakeNvml, gpu_host
from tests.runner.device.trees import tree


def test_devices_come_in_cudas_own_order_with_their_places(tmp_path: Path) -> None:
    assert cuda_devices(tmp_path, FakeCuda()) == (
        CudaDevice(name="Example GPU 1", pci_bus_id="0000:5E:00.0"),
        CudaDevice(name="Example GPU 0", pci_bus_id="0000:3B:00.0"),
    )


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (("cuInit",), ()),
        (("cuDeviceGetCount",), ()),
        (("cuDeviceGetPCIBusId",), (CudaDevice(name="One", pci_bus_id=None),)),
        (("cuDeviceGetName",), (CudaDevice(name="unknown CUDA device", pci_bus_id="0000:01:00.0"),)),
        (("cuDeviceGet",), (CudaDevice(name="unknown CUDA device", pci_bus_id=None),)),
    ],
)
def test_what_the_driver_cannot_tell_is_not_made_up(
    tmp_path: Path, broken: tuple[str, ...], expected: tuple[CudaDevice, ...]
) -> None:
    assert cuda_devices(tmp_path, FakeCuda(devices=(("One", "0000:01:00.0"),), broken=broken)) == expected


def test_without_a_device_node_no_driver_is_loaded(tmp_path: Path) -> None:
    assert load_driver(tmp_path) is None
    assert cuda_devices(tmp_path) == ()


def test_the_facts_of_a_machine_name_every_device_that_cuda_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = device.facts(gpu_host(tree(tmp_path, {}), monkeypatch, FakeNvml()), "x86_64", environment={})
    assert facts.cuda == ("Example GPU 1", "Example GPU 0")
    assert facts.gpu is not None
    assert (facts.gpu.name, facts.gpu_unknown) == ("Example GPU 1", "")
