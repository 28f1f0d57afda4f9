"""What disturbed the worker processes while they were timed: reasons as data, from the record alone."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from runner.device.window import Window, delta
from runner.process import Process
from runner.reason import Level, Reason

MOST_STEAL = 0.01
"""The share of CPU time that a hypervisor may give to others."""
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


def _of_machine(read: Callable[[Window], float | None]) -> Callable[[Process], float | None]:
    def figure(process: Process) -> float | None:
        seen = process.machine
        return read(delta(seen[0], seen[-1], seen[1:-1])) if len(seen) > 1 else None

    return figure


def _all_bits(figures: Sequence[float]) -> float:
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
        worst=_all_bits,
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
)


def disturbances(processes: Sequence[Process]) -> Iterator[Reason]:
    """Yield each kind of disturbance that there was, with how many of the processes it met, and at its worst."""
    for kind in KINDS:
        found = [figure for process in processes if (figure := kind.figure(process))]
        if found:
            worst = kind.worst(found)
            yield Reason(
                code=kind.code,
                level=kind.level,
                detail=f"{kind.told(worst)}, in {len(found)} of {len(processes)} processes",
                evidence={"processes": float(len(found)), "most": float(worst)},
                advice=kind.advice,
            )
