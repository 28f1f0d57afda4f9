"""The energy counters of NVIDIA's GPUs, by NVML."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from runner.device.energy.sensor import Sensor, counted
from runner.device.nvml import Library, Nvml, open_library


def sensors(root: Path, module: Nvml | None = None) -> Iterator[Sensor]:
    """Yield one sensor for each GPU that counts its energy: Volta and later do."""
    library = open_library(root, module)
    if not isinstance(library, Library):
        return
    for index, handle in enumerate(library.handles()):
        read = partial(_read, library, handle)
        if read() is not None:
            name = library.text("nvmlDeviceGetName", handle) or "unknown"
            yield Sensor(
                name=f"NVML {index}",
                scope=f"GPU {index} ({name}) and its memory: not the machine around it",
                read=read,
                unreadable="the driver did not tell the GPU's energy",
                joules=partial(counted, wraps_j=(0.0,)),
                period_s=60.0,
                # The power behind the counter is sampled for a part of the time only: short windows may miss all.
                least_s=10.0,
            )


def _read(library: Library, handle: object) -> tuple[float, ...] | None:
    millijoules = library.count("nvmlDeviceGetTotalEnergyConsumption", handle)
    return None if millijoules is None else (millijoules / 1000,)
