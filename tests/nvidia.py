"""A GPU that is not there: stand-ins for NVIDIA's driver and for the package `pynvml`, with the real names."""

import ctypes
import importlib.machinery
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import cast

import pytest

from runner.device import cuda, nvml
from tests.runner.device.trees import tree

BUS_IDS = ("00000000:3B:00.0", "00000000:5E:00.0")


class NVMLError(Exception):
    """What the package raises."""


class NVMLLibraryMismatchError(Exception):
    """What it raises where a driver is older than a function: no NVMLError."""


@dataclass
class FakeNvml:
    """A machine with two GPUs of which the second is CUDA's first; each function has the real one's parameters."""

    driver_loaded: bool = True
    refused: Collection[str] = ()
    """Functions that answer `Not Supported`."""
    mismatched: Collection[str] = ()
    """Functions that this driver is too old for."""
    sm_mhz: int = 1980
    event_reasons: int = 0
    temperature_c: int = 45
    power_mw: int = 120_500
    busy: int = 0
    processes: Sequence[tuple[int, int | None]] = ()
    """Number and memory of each program that computes on it."""
    energy_mj: Mapping[str, int] = field(default_factory=lambda: {BUS_IDS[0]: 5_000})
    asked: list[str] = field(default_factory=list)
    """The bus ids of the GPUs that anything was asked of."""

    NVMLError: type[Exception] = NVMLError
    NVMLLibraryMismatchError = NVMLLibraryMismatchError
    __spec__ = importlib.machinery.ModuleSpec("pynvml", None)

    def __getattribute__(self, name: str) -> object:
        """Refuse what shall be refused."""
        found = object.__getattribute__(self, name)
        if not name.startswith("nvml"):
            return found
        if name in self.refused:
            return _raising(NVMLError("Not Supported"))
        return _raising(NVMLLibraryMismatchError("older")) if name in self.mismatched else found

    def nvmlInit(self) -> None:
        if not self.driver_loaded:
            raise NVMLError("Driver Not Loaded")

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlSystemGetCudaDriverVersion_v2(self) -> int:
        return 13000

    def nvmlDeviceGetCount(self) -> int:
        return len(BUS_IDS)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return BUS_IDS[index]

    def nvmlDeviceGetHandleByPciBusId(self, pciBusId: str) -> str:
        # CUDA writes the domain with four digits, NVML with eight, and takes both.
        place = f"0000{pciBusId}" if pciBusId.index(":") == 4 else pciBusId
        if place not in BUS_IDS:
            raise NVMLError("Not Found")
        return place

    def nvmlDeviceGetName(self, handle: str) -> str:
        return f"Example GPU {BUS_IDS.index(handle)}"

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return f"GPU-{BUS_IDS.index(handle)}"

    def nvmlDeviceGetPciInfo(self, handle: str) -> object:
        return SimpleNamespace(busId=handle)

    def nvmlDeviceGetCudaComputeCapability(self, handle: str) -> tuple[int, int]:
        return 9, 0

    def nvmlDeviceGetMemoryInfo(self, handle: str, version: int | None = None) -> object:
        return SimpleNamespace(total=140 << 30, free=139 << 30, used=1 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> object:
        return SimpleNamespace(gpu=self.busy, memory=0)

    def nvmlDeviceGetClockInfo(self, handle: str, type: int) -> int:  # noqa: A002 - the real name
        self.asked.append(handle)
        return {1: self.sm_mhz, 2: 3201}[type]

    def nvmlDeviceGetMaxClockInfo(self, handle: str, type: int) -> int:  # noqa: A002 - as above
        return {1: 1980, 2: 3201}[type]

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: str) -> int:
        return self.event_reasons

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        return self.event_reasons

    def nvmlDeviceGetTemperatureV(self, handle: str, sensor: int, version: int = 0) -> int:
        return {0: self.temperature_c}[sensor]

    def nvmlDeviceGetTemperature(self, handle: str, sensor: int) -> int:
        return {0: self.temperature_c}[sensor]

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return self.power_mw

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: str) -> int:
        return 700_000

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        return 650_000

    def nvmlDeviceGetPersistenceMode(self, handle: str) -> int:
        return 1

    def nvmlDeviceGetEccMode(self, handle: str) -> list[int]:
        return [1, 0]

    def nvmlDeviceGetMigMode(self, device: str) -> list[int]:
        return [0, 1]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[object]:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in self.processes]

    def nvmlDeviceGetComputeRunningProcesses_v2(self, handle: str) -> list[object]:
        return self.nvmlDeviceGetComputeRunningProcesses(handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if handle not in self.energy_mj:
            raise NVMLError("Not Supported")
        return self.energy_mj[handle]


def _raising(error: Exception) -> object:
    def refuse(*_: object) -> object:
        raise error

    return refuse


@dataclass
class FakeCuda:
    """libcuda with devices of these names and places, in its own order."""

    devices: Sequence[tuple[str, str]] = (("Example GPU 1", "0000:5E:00.0"), ("Example GPU 0", "0000:3B:00.0"))
    broken: Collection[str] = ()
    """Functions that fail."""

    def cuInit(self, flags: int) -> int:
        assert flags == 0
        return self._status("cuInit")

    def cuDeviceGetCount(self, count: object) -> int:
        _int(count).value = len(self.devices)
        return self._status("cuDeviceGetCount")

    def cuDeviceGet(self, handle: object, index: int) -> int:
        _int(handle).value = index
        return self._status("cuDeviceGet")

    def cuDeviceGetName(self, name: object, size: int, handle: object) -> int:
        _write(name, size, self._device(handle)[0])
        return self._status("cuDeviceGetName")

    def cuDeviceGetPCIBusId(self, bus_id: object, size: int, handle: object) -> int:
        _write(bus_id, size, self._device(handle)[1])
        return self._status("cuDeviceGetPCIBusId")

    def _device(self, handle: object) -> tuple[str, str]:
        assert isinstance(handle, ctypes.c_int)
        return self.devices[handle.value]

    def _status(self, name: str) -> int:
        return 999 if name in self.broken else 0


def gpu_host(root: Path, monkeypatch: pytest.MonkeyPatch, module: FakeNvml, driver: FakeCuda | None = None) -> Path:
    """Put a GPU into the machine under `root`: its device node, its driver, and the package to ask it by."""
    tree(root, {"dev/nvidiactl": ""})
    monkeypatch.setitem(sys.modules, nvml.PACKAGE, cast("ModuleType", module))
    monkeypatch.setattr(nvml, "_of_this_process", nvml._of_this_process.__wrapped__)
    monkeypatch.setattr(cuda, "load_driver", lambda _: driver or FakeCuda())
    return root


def _int(reference: object) -> ctypes.c_int:
    found = getattr(reference, "_obj")  # noqa: B009 - what a reference of ctypes refers to; its type does not say
    assert isinstance(found, ctypes.c_int)
    return found


def _write(buffer: object, size: int, text: str) -> None:
    assert isinstance(buffer, ctypes.Array)
    assert len(text) < size
    buffer.value = text.encode()
