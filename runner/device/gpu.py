"""The GPU that artifacts run on, as NVML knows it: what it is, and what it does at one moment."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.device.cuda import CudaDevice, cuda_devices
from runner.device.files import count, read_pairs
from runner.device.nvml import Closed, Library, as_text, open_library
from runner.facts import Gpu
from runner.process import GpuCounters

SM, MEMORY = 1, 2
"""NVML_CLOCK_SM and NVML_CLOCK_MEM."""
CORE = 0
"""NVML_TEMPERATURE_GPU."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuSensor:
    """One GPU, which is asked again and again."""

    library: Library
    handle: object
    root: Path
    """Of the machine, for the parents of processes."""

    def read(self) -> GpuCounters:
        """Ask for everything that changes."""
        library, gpu = self.library, self.handle
        used = getattr(library.ask("nvmlDeviceGetMemoryInfo", gpu), "used", None)
        busy = getattr(library.ask("nvmlDeviceGetUtilizationRates", gpu), "gpu", None)
        others, worker_bytes = self._processes()
        return GpuCounters(
            sm_mhz=library.count("nvmlDeviceGetClockInfo", gpu, SM),
            memory_mhz=library.count("nvmlDeviceGetClockInfo", gpu, MEMORY),
            event_reasons=library.count(
                "nvmlDeviceGetCurrentClocksEventReasons", gpu, older="nvmlDeviceGetCurrentClocksThrottleReasons"
            ),
            temperature_c=library.count("nvmlDeviceGetTemperatureV", gpu, CORE, older="nvmlDeviceGetTemperature"),
            power_w=_watts(library.count("nvmlDeviceGetPowerUsage", gpu)),
            busy=busy / 100 if isinstance(busy, int) else None,
            used_bytes=used if isinstance(used, int) else None,
            worker_bytes=worker_bytes,
            processes=others,
        )

    def facts(self) -> Gpu:
        """Ask for everything that stays."""
        library, gpu = self.library, self.handle
        total = getattr(library.ask("nvmlDeviceGetMemoryInfo", gpu), "total", None)
        capability = library.ask("nvmlDeviceGetCudaComputeCapability", gpu)
        return Gpu(
            name=library.text("nvmlDeviceGetName", gpu) or "unknown",
            uuid=library.text("nvmlDeviceGetUUID", gpu),
            pci_bus_id=as_text(getattr(library.ask("nvmlDeviceGetPciInfo", gpu), "busId", None)),
            compute_capability=".".join(map(str, capability)) if isinstance(capability, Sequence) else None,
            memory_bytes=total if isinstance(total, int) else None,
            max_sm_mhz=library.count("nvmlDeviceGetMaxClockInfo", gpu, SM),
            max_memory_mhz=library.count("nvmlDeviceGetMaxClockInfo", gpu, MEMORY),
            power_limit_w=_watts(
                library.count("nvmlDeviceGetEnforcedPowerLimit", gpu, older="nvmlDeviceGetPowerManagementLimit")
            ),
            persistence=library.switch("nvmlDeviceGetPersistenceMode", gpu),
            ecc=library.switch("nvmlDeviceGetEccMode", gpu),
            mig=library.switch("nvmlDeviceGetMigMode", gpu),
            driver=library.text("nvmlSystemGetDriverVersion"),
            cuda=_cuda_version(
                library.count("nvmlSystemGetCudaDriverVersion_v2", older="nvmlSystemGetCudaDriverVersion")
            ),
        )

    def _processes(self) -> tuple[int | None, int | None]:
        """Return how many programs compute on it, this one left out, and the memory of those that this one started.

        In a container the numbers of processes may be the host's: then none is known to be ours.
        """
        found = self.library.ask(
            "nvmlDeviceGetComputeRunningProcesses", self.handle, older="nvmlDeviceGetComputeRunningProcesses_v2"
        )
        if not isinstance(found, list):
            return None, None
        listed = [(getattr(each, "pid", None), getattr(each, "usedGpuMemory", None)) for each in found]
        others = [(pid, used) for pid, used in listed if pid != os.getpid()]
        ours = [used for pid, used in others if self._parent(pid) == os.getpid() and isinstance(used, int)]
        return len(others), sum(ours) if ours else None

    def _parent(self, pid: object) -> int | None:
        return count(read_pairs(self.root / f"proc/{pid}/status").get("PPid"))


def find_gpu(root: Path, devices: Sequence[CudaDevice] | None = None) -> GpuSensor | Closed:
    """Return the GPU that runtimes take by default: the first that CUDA shows to this process."""
    devices = cuda_devices(root) if devices is None else devices
    if not devices:
        return Closed(reason="there is no CUDA device here")
    library = open_library(root)
    if not isinstance(library, Library):
        return library
    handle = next(_matching(library, devices), None)
    if handle is None:
        return Closed(reason=f"NVML does not know which of its GPUs CUDA's first is, {devices[0].name}")
    return GpuSensor(library=library, handle=handle, root=root)


def _matching(library: Library, devices: Sequence[CudaDevice]) -> Iterator[object]:
    """Yield the GPU in the same place, or the only one; numbers are no help, for CUDA's order is another."""
    place = devices[0].pci_bus_id
    found = library.ask("nvmlDeviceGetHandleByPciBusId", place) if place else None
    if found is not None:
        yield found
    handles = list(library.handles())
    if len(handles) == 1:
        yield handles[0]


def _watts(milliwatts: int | None) -> float | None:
    return None if milliwatts is None else milliwatts / 1000


def _cuda_version(number: int | None) -> str | None:
    """Return `13.0` of 13000."""
    return None if number is None else f"{number // 1000}.{number % 1000 // 10}"
