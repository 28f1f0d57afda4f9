"""What one fresh worker process measured: the raw record that every summary of time and memory follows from.

Light: the worker itself imports it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """What the timed loop adds to each sample, and how finely the clock ticks."""

    resolution_ns: int
    """The least step between two readings."""
    overhead_ns: float
    """Median sample of a call that does nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What a process used, and what was taken from it, from its first timed sample to its last."""

    began_ns: int
    """CLOCK_MONOTONIC, which all processes of a machine share."""
    ended_ns: int
    major_faults: int
    """Pages that had to come from the disk."""
    involuntary_switches: int
    """How often something else took the CPU away."""
    cpu_ns: int
    """Of all its threads."""
    swap_bytes: int | None
    """What was swapped out at the end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuCounters:
    """What NVML says of the GPU that artifacts run on, at one moment. None: it does not say."""

    sm_mhz: int | None
    """The clock of its processors."""
    memory_mhz: int | None
    event_reasons: int | None
    """Why its clock is not higher, as NVML's bits: nvmlClocksEventReasons."""
    temperature_c: float | None
    power_w: float | None
    busy: float | None
    """The share of the last sampling period, a sixth of a second to a second, in which any kernel ran."""
    used_bytes: int | None
    """Of its memory, by all."""
    worker_bytes: int | None
    """Of its memory, by the worker process, the CUDA context included."""
    processes: int | None
    """Programs that compute on it, the worker among them and the runner itself not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Counters:
    """What the machine says of itself at one moment."""

    monotonic_ns: int
    load_average: float | None
    temperature_c: float | None
    """The hottest sensor of the CPU, or of all where none says that it is the CPU's."""
    frequency_mhz: float | None
    """Mean over the CPUs that the worker may run on."""
    throttled_now: int | None
    """Raspberry Pi: bit 0 under-voltage, 1 frequency capped, 2 throttled, 3 soft temperature limit."""
    throttled_since_boot: int | None
    """The same bits, of which each stays once it was set."""
    heat_throttles: int | None
    """Intel: how often heat slowed a core down, since boot, over all cores."""
    nr_throttled: int | None
    """In how many periods the cgroup's quota was used up."""
    steal_ticks: int | None
    """CPU time that the hypervisor gave to others, since boot."""
    total_ticks: int | None
    """All CPU time since boot: each CPU's added."""
    gpu: GpuCounters | None = None
    """Of the GPU, while something runs on it."""

    @property
    def steal_fraction(self) -> float | None:
        """Share of CPU time that the hypervisor gave to others since boot."""
        return share(self.steal_ticks, self.total_ticks)


@dataclass(frozen=True, kw_only=True, slots=True)
class Other:
    """Another program that had the CPU meanwhile."""

    name: str
    """As the system has it: of all processes of this name together."""
    cpus: float
    """How many CPUs it kept busy, on average."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """The life of one worker. Times in nanoseconds, in the order in which they were taken; None could not be read."""

    turn: int = 0
    """The round in which it ran: what ran in the same one met the same machine."""
    import_ns: int
    load_ns: int
    first_ns: int
    """The first inference, cold."""
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    """With several calls to a sample, their mean; with several streams, all of them, in the order of their ends."""
    calls_per_sample: int = 1
    """More than one where a call is so short that the harness would be more than 1 % of it."""
    device_ns: tuple[int, ...] = ()
    """Of calls after the timed ones: the accelerator's own time, by its events, without transfers."""
    harness: Harness | None = None
    usage: Usage | None = None
    machine: tuple[Counters, ...] = ()
    """The machine as seen from outside: before the timed window, once a second in it, and after it."""
    others: tuple[Other, ...] = ()
    """The programs that had most of the CPU from its start to the end of its timed window, where psutil tells."""
    waited_s: float = 0.0
    """For the machine to cool down, before this process was started."""
    cpus: tuple[int, ...] = ()
    """Where it was allowed to run."""
    imported_bytes: int | None
    """Resident memory with the runtime imported."""
    loaded_bytes: int | None
    """Resident memory with the artifact loaded."""
    import_peak_bytes: int | None = None
    load_peak_bytes: int | None = None
    run_peak_bytes: int | None = None
    """The largest resident memory of each phase (VmHWM, set back at its border); None where that is not allowed.
    The run is the warm-up: while it is timed the record of the times grows, which is no memory of the artifact."""
    peak_bytes: int | None
    """The largest resident memory of the process until the timed calls begin."""
    gpu_allocated_bytes: int | None = None
    """The most that the artifact's tensors took of the GPU's memory, by the runtime's own count."""
    gpu_reserved_bytes: int | None = None
    """The most that the runtime held of it, what it keeps for later included; the CUDA context is in neither."""

    @property
    def timed_gpu(self) -> tuple[GpuCounters, ...]:
        """What the GPU said within the timed window: around it the GPU is idle, and its clock low."""
        usage = self.usage
        within = [it for it in self.machine if usage and usage.began_ns <= it.monotonic_ns <= usage.ended_ns]
        return tuple(it.gpu for it in within if it.gpu)


def share(part: int | None, whole: int | None) -> float | None:
    """Return part / whole, or None where one is unknown or there is no whole."""
    return part / whole if part is not None and whole else None
