"""What a machine is, and what it does at one moment, as it stands in reports. None is: could not be read there."""

from dataclasses import dataclass

from runner.manifest import Format
from runner.process import GpuCounters

CONTAINER = "container ("
"""How a container begins, in what is around a process; a hypervisor, if there is one, stands before it."""
WITHIN = " with a "


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """A runtime as installed, found without importing it."""

    format: Format
    package: str
    version: str | None
    """None where it is not installed."""
    kernel: str
    """What its int8 arithmetic will use on this machine."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """The GPU that artifacts run on: the first that CUDA shows to a process. None: NVML does not say."""

    name: str
    uuid: str | None
    pci_bus_id: str | None
    compute_capability: str | None
    memory_bytes: int | None
    max_sm_mhz: int | None
    max_memory_mhz: int | None
    power_limit_w: float | None
    """As it is enforced now."""
    persistence: bool | None
    """Whether the driver keeps it ready while nobody uses it."""
    ecc: bool | None
    mig: bool | None
    """Whether it is cut into slices (multi-instance GPU)."""
    driver: str | None
    cuda: str | None
    """The newest CUDA that the driver can serve."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceFacts:
    """What the machine is. None is: could not be read here."""

    machine: str
    system: str
    cpu: str
    features: tuple[str, ...]
    """The instruction sets that matter to int8 and half precision, of those that the CPU has."""
    cpus: int
    """Those this process may use: the affinity mask and the cgroup's quota."""
    affinity: tuple[int, ...]
    cpu_quota: float | None = None
    """How many CPUs the cgroup gives, where it has a limit."""
    memory_bytes: int | None
    cuda: tuple[str, ...]
    """Names of the CUDA devices."""
    emulated: str | None
    """The sign by which user-mode emulation was told, if it was."""
    virtual: str | None
    """The hypervisor or container, if there is one."""
    governor: str | None
    python: str
    board: str | None
    """The board's own name of itself, as in the device tree."""
    runtimes: tuple[Runtime, ...]
    environment: dict[str, str]
    """The variables, among those that change a runtime's speed, which are set."""
    gpu: Gpu | None = None
    gpu_unknown: str = ""
    """Why a CUDA device is there and nothing more is known of it."""

    @property
    def hypervisor(self) -> str | None:
        """What makes this a virtual machine. A container alone does not: its CPU is the machine's own."""
        outer, _, _ = (self.virtual or "").partition(CONTAINER)
        return outer.removesuffix(WITHIN) or None


@dataclass(frozen=True, kw_only=True, slots=True)
class DeviceState:
    """What the machine was doing at one moment. None is: could not be read here."""

    load_average: float | None
    temperature_c: float | None
    frequency_mhz: float | None
    throttled: bool | None
    """Whether the board says that it is slowed down by heat or low voltage."""
    steal_fraction: float | None
    """Share of CPU time that the hypervisor gave to others since boot."""
    gpu: GpuCounters | None = None
