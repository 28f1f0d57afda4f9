"""What one fresh worker process measured: the raw record that every summary of time and memory follows from."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Harness:
    """What the timed loop adds to each sample, and how finely the clock ticks."""

    resolution_ns: int
    """The least step between two readings."""
    overhead_ns: float
    """Median sample of a call that does nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """What a process met from its first timed sample to its last."""

    began_ns: int
    """CLOCK_MONOTONIC, which all processes of a machine share."""
    ended_ns: int
    major_faults: int
    involuntary_switches: int
    cpu_ns: int
    """Of all its threads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """The life of one worker. Times in nanoseconds, in the order in which they were taken; None could not be read."""

    import_ns: int
    load_ns: int
    first_ns: int
    """The first inference, cold."""
    warmup_ns: tuple[int, ...]
    samples_ns: tuple[int, ...]
    """With several calls to a sample, their mean; with several streams, one stream's after the other's."""
    calls_per_sample: int = 1
    """More than one where a call is so short that the harness would be more than 1 % of it."""
    device_ns: tuple[int, ...] = ()
    """Of calls after the timed ones: the accelerator's own time, by its events, without transfers."""
    harness: Harness | None = None
    window: Window | None = None
    cpus: tuple[int, ...] = ()
    """Where it was allowed to run."""
    imported_bytes: int | None
    """Resident memory with the runtime imported."""
    loaded_bytes: int | None
    """Resident memory with the artifact loaded."""
    import_peak_bytes: int | None = None
    load_peak_bytes: int | None = None
    run_peak_bytes: int | None = None
    """The largest resident memory of each phase (VmHWM, set back at its border); None where that is not allowed."""
    peak_bytes: int | None
    """The largest resident memory of the process's life."""
