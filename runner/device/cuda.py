"""The CUDA devices of this machine, in the order in which CUDA numbers them for this process, by its driver."""

import ctypes
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

NODES = ("dev/nvidiactl", "dev/nvhost-gpu", "dev/nvhost-ctrl-gpu", "dev/dxg")
BUS_ID_BYTES = 32


class Driver(Protocol):
    """What is called of libcuda. Each returns 0 where it has worked; what is found is written where it is told to."""

    def cuInit(self, flags: int) -> int:  # noqa: N802 - NVIDIA's names
        """Find the driver, without a context on any device."""

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802
        """Write how many devices CUDA_VISIBLE_DEVICES leaves."""

    def cuDeviceGet(self, handle: object, index: int) -> int:  # noqa: N802
        """Write a device."""

    def cuDeviceGetName(self, name: object, size: int, handle: object) -> int:  # noqa: N802
        """Write its name."""

    def cuDeviceGetPCIBusId(self, bus_id: object, size: int, handle: object) -> int:  # noqa: N802
        """Write where it is plugged in."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CudaDevice:
    """A device as CUDA numbers it: CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER are in the numbers."""

    name: str
    pci_bus_id: str | None
    """`0000:3B:00.0`: what other libraries know it by, whose numbers are others. Of a MIG slice it is the GPU's."""


def cuda_devices(root: Path, driver: Driver | None = None) -> tuple[CudaDevice, ...]:
    """Return the devices that the driver gives this process, the one first that runtimes take by default."""
    driver = driver or load_driver(root)
    count = ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_device(driver, index) for index in range(count.value))


def load_driver(root: Path) -> Driver | None:
    """Return libcuda, or None where there is no device for it: loading it for nothing takes time."""
    if not any((root / node).exists() for node in NODES):
        return None
    try:
        return cast("Driver", ctypes.CDLL("libcuda.so.1"))
    except OSError:
        return None


def _device(driver: Driver, index: int) -> CudaDevice:
    handle = ctypes.c_int()
    name, bus_id = ctypes.create_string_buffer(256), ctypes.create_string_buffer(BUS_ID_BYTES)
    lost = driver.cuDeviceGet(ctypes.byref(handle), index)
    unnamed = lost or driver.cuDeviceGetName(name, len(name), handle)
    unplaced = lost or driver.cuDeviceGetPCIBusId(bus_id, len(bus_id), handle)
    return CudaDevice(
        name="unknown CUDA device" if unnamed else name.value.decode(errors="replace"),
        pci_bus_id=None if unplaced else bus_id.value.decode(errors="replace"),
    )
