"""What disturbed the worker processes while they were timed: reasons as data, from the record alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from runner.device.others import MOST_NAMED
from runner.device.window import Window, delta
from runner.measure.cooling import MOST_S
from runner.process import Other, Process
from runner.reason import Level, Reason

MOST_STEAL = 0.01
"""The share of CPU time that a hypervisor may give to others."""
MOST_SWITCHES = 40.0
"""How often a worker may lose the CPU in each second that it has had it. Beside others of its rank Linux lets it run
for 3 to 24 ms at a time (CFS, EEVDF), so that it loses it 40 to 330 times: 265 to 740 times were seen on two CPUs with
five to eight other programs. Where nobody had a right to its CPU it was 1 to 2 times, with one thread or several.
"""
STARVED = 0.9
FEW_SWITCHES = 10.0
"""Less than this share of even one CPU, and so many switches: others keep the CPU for long. With fewer it may have
waited by itself, as for a GPU; threads of a runtime that sleep meanwhile leave one that works."""
LEAST_WINDOW_NS = 100_000_000
"""In a shorter one a single switch says nothing."""
FIRMWARE = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "soft temperature limit"}
"""The bits of a Raspberry Pi's firmware."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A way in which a timed window can go wrong."""

    code: str
    level: Level
    figure: Callable[[Process], float | None]
    """What tells it, of one process; nothing and zero are: it did not happen."""
    told: Callable[[float], str]
    """The worst figure in words."""
    advice: str
    worst: Callable[[Sequence[float]], float] = max
    """Of several processes' figures."""
    by_others: bool = False
    """Whether it was other programs' doing, which are named where they are known."""


def _of_machine(read: Callable[[Window], float | None]) -> Callable[[Process], float | None]:
    def figure(process: Process) -> float | None:
        seen = process.machine
        return read(delta(seen[0], seen[-1], seen[1:-1])) if len(seen) > 1 else None

    return figure


def _switches_per_cpu_s(process: Process) -> float | None:
    """Return how often the process lost the CPU in each second that it had it, where that was too often."""
    usage = process.usage
    window_ns = usage.ended_ns - usage.began_ns if usage else 0
    if usage is None or not usage.cpu_ns or window_ns < LEAST_WINDOW_NS:
        return None
    rate = usage.involuntary_switches * 1e9 / usage.cpu_ns
    starved = usage.cpu_ns < STARVED * window_ns
    return rate if rate > (FEW_SWITCHES if starved else MOST_SWITCHES) else None


def all_bits(figures: Sequence[float]) -> float:
    """Return every bit that is set in any of them."""
    return reduce(or_, map(int, figures))


def _bits(bits: float) -> str:
    return ", ".join(name for bit, name in FIRMWARE.items() if int(bits) >> bit & 1)


KINDS = (
    Kind(
        code="throttled",
        level="invalid",
        figure=_of_machine(lambda window: window.throttled),
        told=lambda bits: f"the board slowed itself down while it was timed ({_bits(bits)})",
        advice="a better cooler or power supply",
        worst=all_bits,
    ),
    Kind(
        code="heat",
        level="invalid",
        figure=_of_machine(lambda window: window.heat_throttles),
        told=lambda times: f"heat slowed cores down {times:.0f} times in a timed window",
        advice="a better cooler, or fewer --threads",
    ),
    Kind(
        code="quota",
        level="invalid",
        figure=_of_machine(lambda window: window.nr_throttled),
        told=lambda periods: f"the container's CPU quota was used up in {periods:.0f} periods of a timed window",
        advice="a larger quota, or fewer --threads",
    ),
    Kind(
        code="major-faults",
        level="invalid",
        figure=lambda process: process.usage.major_faults if process.usage else None,
        told=lambda pages: f"{pages:.0f} pages came from the disk in a timed window",
        advice="more free memory, or a faster disk",
    ),
    Kind(
        code="swap",
        level="invalid",
        figure=lambda process: process.usage.swap_bytes if process.usage else None,
        told=lambda size: f"{size / 2**20:.1f} MiB of the worker were swapped out",
        advice="more free memory: end what else runs on this machine",
    ),
    Kind(
        code="steal",
        level="caveat",
        figure=_of_machine(lambda window: share if (share := window.steal_fraction or 0.0) > MOST_STEAL else None),
        told=lambda share: f"the hypervisor gave {share:.1%} of the CPU time of a timed window to others",
        advice="another time, or bare metal",
    ),
    Kind(
        code="not-cooled",
        level="caveat",
        figure=lambda process: process.waited_s if process.waited_s >= MOST_S else None,
        told=lambda seconds: f"the machine was still hotter than at the beginning when {seconds:.0f} s had been waited",
        advice="a better cooler, or fewer --threads",
    ),
    Kind(
        code="contended",
        level="caveat",
        figure=_switches_per_cpu_s,
        told=lambda times: f"the worker lost its CPU {times:.0f} times in each second that it had one",
        advice="end what else runs on this machine, or fewer --threads or --streams",
        by_others=True,
    ),
)


def disturbances(processes: Sequence[Process], kinds: Sequence[Kind] = KINDS) -> Iterator[Reason]:
    """Yield each kind of disturbance that there was, with how many of the processes it met, and at its worst."""
    for kind in kinds:
        met = [(process, figure) for process in processes if (figure := kind.figure(process))]
        if met:
            worst = kind.worst([figure for _, figure in met])
            others = _most_busy([process for process, _ in met]) if kind.by_others else ()
            named = "; beside it ran " + ", ".join(map(_busy, others)) if others else ""
            yield Reason(
                code=kind.code,
                level=kind.level,
                detail=f"{kind.told(worst)}, in {len(met)} of {len(processes)} processes{named}",
                evidence={
                    "processes": float(len(met)),
                    "most": float(worst),
                    **{f"CPUs of {each.name}": each.cpus for each in others},
                },
                advice=kind.advice,
            )


def _most_busy(processes: Sequence[Process]) -> tuple[Other, ...]:
    """Return the programs that were busy beside some processes, each as busy as it was at most."""
    most = dict[str, float]()
    for each in (other for process in processes for other in process.others):
        most[each.name] = max(each.cpus, most.get(each.name, 0.0))
    ordered = sorted(most.items(), key=lambda item: -item[1])
    return tuple(Other(name=name, cpus=cpus) for name, cpus in ordered[:MOST_NAMED])


def _busy(other: Other) -> str:
    return f"{other.name} (up to {other.cpus:.0%} of a CPU)"
