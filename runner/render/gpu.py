"""The GPU as pages show it: what it is, what it does at this moment, and what it did while artifacts were timed."""

from collections.abc import Callable, Iterator, Sequence

from runner import stats
from runner.facts import Gpu
from runner.process import GpuCounters, Process
from runner.render import units
from runner.render.page import Block, Table, drop_empty_columns
from runner.render.units import NONE
from runner.report import ArtifactReport, Report

SWITCHES = {True: "on", False: "off", None: "unknown"}


def gpu_blocks(report: Report) -> Iterator[Block]:
    """Yield a table of the GPU's clock, heat, power and memory for each artifact that was timed on it."""
    ran = [it for it in report.artifacts if it.latency and it.runtime and it.runtime.device == "cuda"]
    table = _memory_and_clocks(ran)
    if not table.rows or len(table.columns) == 1:
        return
    yield table
    name = f" ({gpu_line(report.device.gpu)})" if report.device.gpu else ""
    yield (
        f"GPU{name}: what NVML said once a second in the timed windows. tensors, runtime: the most of its memory by "
        "the runtime's own count, given out and held; process, device: the most in use by NVML, by the worker with its "
        "CUDA context, and by all. accelerator, above: the GPU's own time of a call by its events, without transfers; "
        "latency is the wall time with them."
    )


def gpu_line(gpu: Gpu) -> str:
    """Return what a GPU is, in a few words."""
    memory = units.size_scale([gpu.memory_bytes]).show(gpu.memory_bytes) if gpu.memory_bytes else ""
    known = (
        gpu.name,
        memory,
        f"compute capability {gpu.compute_capability}" if gpu.compute_capability else "",
        f"driver {gpu.driver}" if gpu.driver else "",
        f"CUDA {gpu.cuda}" if gpu.cuda else "",
    )
    return ", ".join(filter(None, known))


def gpu_rows(gpu: Gpu, now: GpuCounters | None) -> Iterator[tuple[str, str]]:
    """Yield facts of a GPU, and what it does at this moment, by name."""
    yield "GPU", gpu_line(gpu)
    yield "its place", f"{gpu.pci_bus_id or NONE}, {gpu.uuid or NONE}"
    limit = _number(gpu.power_limit_w, "W")
    yield (
        "its limits",
        f"SM {_number(gpu.max_sm_mhz, 'MHz')}, memory {_number(gpu.max_memory_mhz, 'MHz')}, power {limit}",
    )
    yield "its modes", f"persistence {SWITCHES[gpu.persistence]}, ECC {SWITCHES[gpu.ecc]}, MIG {SWITCHES[gpu.mig]}"
    if now:
        clock, heat, power = _number(now.sm_mhz, "MHz"), _number(now.temperature_c, "°C"), _number(now.power_w, "W")
        others = NONE if now.processes is None else units.counted(now.processes, "program")
        yield "its state", f"SM {clock}, {heat}, {power}, {units.percent(now.busy, 0)} busy, {others} on it"


def _memory_and_clocks(ran: Sequence[ArtifactReport]) -> Table:
    memory = [_memory(artifact) for artifact in ran]
    scale = units.size_scale([each for row in memory for each in row])
    rows = tuple(
        (artifact.name, *_state(artifact), *map(scale.show, row)) for artifact, row in zip(ran, memory, strict=True)
    )
    columns = ("artifact", "GPU clock", "hottest", "power", "tensors", "runtime", "process", "device")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE)


def _state(artifact: ArtifactReport) -> tuple[str, str, str]:
    clocks = _values(artifact, lambda gpu: gpu.sm_mhz)
    heat = _values(artifact, lambda gpu: gpu.temperature_c)
    power = _values(artifact, lambda gpu: gpu.power_w)
    least, most = min(clocks, default=None), max(clocks, default=None)
    span = f"{least:,.0f}–" if least is not None and least != most else ""  # noqa: RUF001 - a range has an en dash
    return (
        NONE if most is None else f"{span}{most:,.0f} MHz",
        _number(max(heat, default=None), "°C"),
        _number(stats.median(power) if power else None, "W"),
    )


def _memory(artifact: ArtifactReport) -> tuple[float | None, ...]:
    """Return the medians over the processes of the runtime's own counts, and the most that NVML has seen."""
    return (
        _median(artifact, lambda process: process.gpu_allocated_bytes),
        _median(artifact, lambda process: process.gpu_reserved_bytes),
        max(_values(artifact, lambda gpu: gpu.worker_bytes), default=None),
        max(_values(artifact, lambda gpu: gpu.used_bytes), default=None),
    )


def _processes(artifact: ArtifactReport) -> Sequence[Process]:
    return artifact.latency.processes if artifact.latency else ()


def _values(artifact: ArtifactReport, read: Callable[[GpuCounters], float | None]) -> list[float]:
    found = (read(gpu) for process in _processes(artifact) for gpu in process.timed_gpu)
    return [each for each in found if each is not None]


def _median(artifact: ArtifactReport, read: Callable[[Process], int | None]) -> float | None:
    known = [each for process in _processes(artifact) if (each := read(process)) is not None]
    return stats.median(known) if known else None


def _number(value: float | None, unit: str) -> str:
    return NONE if value is None else f"{value:,.0f} {unit}"
