"""The energy counters of NVIDIA's GPUs, by the package nvidia-ml-py where it is installed."""

import importlib
import importlib.util
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol, cast

from runner.device.energy.sensor import Sensor, counted

PACKAGE = "pynvml"
NODE = "dev/nvidiactl"


class Nvml(Protocol):
    """What is called of the package."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802 - NVIDIA's names
        """Find the driver."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Return the number of GPUs."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> object:  # noqa: N802
        """Return a GPU."""

    def nvmlDeviceGetName(self, handle: object) -> str | bytes:  # noqa: N802
        """Return its name; older releases give bytes."""

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: object) -> int:  # noqa: N802
        """Return the millijoules since the driver was loaded."""


def installed() -> Nvml | None:
    """Return the package, or None where it is not installed."""
    return cast("Nvml", importlib.import_module(PACKAGE)) if importlib.util.find_spec(PACKAGE) else None


def sensors(root: Path, library: Nvml | None = None) -> Iterator[Sensor]:
    """Yield one sensor for each GPU that counts its energy: Volta and later do."""
    library = library or (installed() if (root / NODE).exists() else None)
    if library is None:
        return
    try:
        library.nvmlInit()
        handles = [library.nvmlDeviceGetHandleByIndex(index) for index in range(library.nvmlDeviceGetCount())]
    except library.NVMLError:
        return
    for index, handle in enumerate(handles):
        read = partial(_read, library, handle)
        if read() is not None:
            yield Sensor(
                name=f"NVML {index}",
                scope=f"GPU {index} ({_name(library, handle)}) and its memory: not the machine around it",
                read=read,
                unreadable="the driver did not tell the GPU's energy",
                joules=partial(counted, wraps_j=(0.0,)),
                period_s=60.0,
                # The power behind the counter is sampled for a part of the time only: short windows may miss all.
                least_s=10.0,
            )


def _read(library: Nvml, handle: object) -> tuple[float, ...] | None:
    try:
        return (library.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000,)
    except library.NVMLError:
        return None


def _name(library: Nvml, handle: object) -> str:
    try:
        name = library.nvmlDeviceGetName(handle)
    except library.NVMLError:
        return "unknown"
    return name.decode(errors="replace") if isinstance(name, bytes) else name
