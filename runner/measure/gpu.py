"""What a GPU's record says of the figures that were taken on it: reasons as data, from the record alone."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import or_
from types import MappingProxyType

from runner.facts import DeviceFacts, DeviceState
from runner.measure.disturbance import Kind, all_bits, disturbances
from runner.process import GpuCounters, Process
from runner.reason import Reason
from runner.report import RuntimeFacts

POWER_CAP, SLOWDOWN, SOFT_HEAT, HEAT, POWER_BRAKE = 1 << 2, 1 << 3, 1 << 5, 1 << 6, 1 << 7
EVENTS: Mapping[int, str] = MappingProxyType(
    {
        POWER_CAP: "SW power cap",
        SLOWDOWN: "HW slowdown",
        SOFT_HEAT: "SW thermal slowdown",
        HEAT: "HW thermal slowdown",
        POWER_BRAKE: "HW power brake slowdown",
    }
)
"""NVML's nvmlClocksEventReasons, as nvidia-smi names them, of those that slow a GPU down against anyone's will."""
THROTTLED = SOFT_HEAT | HEAT | POWER_BRAKE
MOVED = 1.01
"""By what factor the clock may move: by a step of 15 MHz, which is about as much as the precision aimed at."""
IDLE = 0.05
"""How busy a GPU may be while nothing of ours runs on it."""
ALONE = "end what else runs on this GPU (nvidia-smi lists it), or CUDA_VISIBLE_DEVICES with another one"
LOCK = "as root: nvidia-smi --lock-gpu-clocks=MHZ,MHZ with less than it holds, --reset-gpu-clocks afterwards"


def gpu_disturbances(processes: Sequence[Process]) -> Iterator[Reason]:
    """Yield what the GPU met while processes were timed on it, with how many of them, and at its worst."""
    yield from disturbances(processes, KINDS)
    clocks = [gpu.sm_mhz for process in processes for gpu in process.timed_gpu if gpu.sm_mhz]
    least, most = min(clocks, default=0), max(clocks, default=0)
    if most > MOVED * least:
        detail = f"the GPU's clock moved between {least:,} and {most:,} MHz while it was timed: nothing holds it"
        evidence = {"least_mhz": float(least), "most_mhz": float(most)}
        yield Reason(code="clocks-not-locked", level="caveat", detail=detail, evidence=evidence, advice=LOCK)


def gpu_reasons(runtime: RuntimeFacts, facts: DeviceFacts, before: DeviceState) -> Iterator[Reason]:
    """Yield what there is to say of any time taken on this GPU, whatever happens meanwhile; nothing of a CPU's."""
    if runtime.device != "cuda":
        return
    if runtime.cpu_nodes:
        yield _left_to_the_cpu(runtime)
    if facts.gpu is None and facts.gpu_unknown:
        detail = f"nobody watched the GPU's clock, heat, throttling and memory: {facts.gpu_unknown}"
        advice = "pip install 'edgepack[cuda]', and see that nvidia-smi answers"
        yield Reason(code="no-nvml", level="note", detail=detail, advice=advice)
    if facts.gpu and facts.gpu.mig:
        detail = "this is a slice of a GPU (MIG): what runs on the other slices moves its clock and its heat"
        yield Reason(code="mig", level="caveat", detail=detail, advice="a GPU that nobody else uses")
    if before.gpu:
        yield from _shared(before.gpu)


def _left_to_the_cpu(runtime: RuntimeFacts) -> Reason:
    kinds = Counter(runtime.cpu_nodes)
    named = ", ".join(f"{kind} {count} times" if count > 1 else kind for kind, count in sorted(kinds.items()))
    count, nodes = len(runtime.cpu_nodes), runtime.nodes or 0
    detail = f"{count} of {nodes} nodes ran on the CPU, where ONNX Runtime has placed them: {named}"
    return Reason(
        code="cpu-nodes",
        level="caveat",
        detail=detail,
        evidence={"cpu_nodes": float(count), "nodes": float(nodes)},
        advice="no operators that the GPU has no kernels for; shapes it computes on the CPU go with a fixed batch",
    )


def _shared(idle: GpuCounters) -> Iterator[Reason]:
    """Yield that others used the GPU before anything of ours ran on it."""
    busy, others = idle.busy or 0.0, idle.processes or 0
    if busy > IDLE or others:
        programs = f"{others} other program{'' if others == 1 else 's'} computed on it"
        what = f"{programs} and it was {busy:.0%} busy" if idle.processes is not None else f"it was {busy:.0%} busy"
        yield Reason(
            code="gpu-contended",
            level="caveat",
            detail=f"before anything was measured the GPU was not idle: {what}",
            evidence={"processes": float(others), "busy": busy},
            advice=ALONE,
        )


def _events(wanted: Callable[[int], int]) -> Callable[[Process], float | None]:
    def figure(process: Process) -> float | None:
        return wanted(reduce(or_, (gpu.event_reasons or 0 for gpu in process.timed_gpu), 0))

    return figure


def _others(process: Process) -> float | None:
    """Return how many programs there were beside the worker, at most."""
    return max(((gpu.processes or 0) - 1 for gpu in process.timed_gpu), default=0) or None


def _named(bits: float) -> str:
    return ", ".join(name for bit, name in EVENTS.items() if int(bits) & bit)


KINDS = (
    Kind(
        code="throttled",
        level="invalid",
        figure=_events(lambda bits: bits & (THROTTLED | SLOWDOWN) if bits & THROTTLED else 0),
        told=lambda bits: f"the GPU slowed itself down while it was timed ({_named(bits)})",
        advice="better cooling or power, or a lower clock. " + LOCK,
        worst=all_bits,
    ),
    Kind(
        code="throttled",
        level="caveat",
        # NVIDIA: of itself this bit "may be also reported during PState or clock change".
        figure=_events(lambda bits: bits & SLOWDOWN if not bits & THROTTLED else 0),
        told=lambda bits: f"the GPU's hardware held it back while it was timed, or changed its clock ({_named(bits)})",
        advice="better cooling or power, or a lower clock. " + LOCK,
        worst=all_bits,
    ),
    Kind(
        code="power-capped",
        level="note",
        figure=_events(lambda bits: bits & POWER_CAP),
        told=lambda bits: f"the GPU's clock was held below what was asked for by its power limit ({_named(bits)})",
        advice=LOCK,
        worst=all_bits,
    ),
    Kind(
        code="gpu-contended",
        level="caveat",
        figure=lambda process: others if (others := _others(process)) and others > 0 else None,
        told=lambda others: f"{others:.0f} other program{'' if others == 1 else 's'} computed on the GPU",
        advice=ALONE,
    ),
)
