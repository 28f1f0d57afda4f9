"""Which kinds of core the machine has, and on which CPUs one run should stay: figures of two kinds do not mix."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.device import cgroup
from runner.device.cpu import ARM_CORES, cpuinfo
from runner.device.files import cpu_list, read_count, read_text
from runner.device.surroundings import affinity

ROOT = Path("/")
CPUS = "sys/devices/system/cpu"
ONE_KIND = 0.9
"""Cores of one design are of one kind down to this share of the fastest's speed: x86 makers let single cores of many
clock some percent higher, while a phone chip's prime core, of the same design as the others, is another kind."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Core:
    """One CPU, as the kernel numbers them."""

    cpu: int
    design: str
    """The name of an ARM core, `performance` or `efficiency` of an Intel hybrid; empty where nothing says."""
    capacity: int | None
    """Its speed next to the machine's fastest, which has 1024."""
    max_mhz: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """Cores that are alike."""

    design: str
    speed: float
    """Of the fastest of them: capacity, or MHz where capacities are alike; 0 where the machine tells neither."""
    cpus: tuple[int, ...]


def cores(root: Path = ROOT) -> tuple[Core, ...]:
    """Return the CPUs that this process may use."""
    parts = {text: core for core in cpuinfo(root) if (text := core.get("processor"))}
    hybrid = {
        cpu: design
        for design, name in (("performance", "cpu_core"), ("efficiency", "cpu_atom"))
        for cpu in cpu_list(read_text(root / f"sys/devices/{name}/cpus"))
    }
    found = []
    for cpu in affinity(root):
        folder = root / CPUS / f"cpu{cpu}"
        khz = read_count(folder / "cpufreq/cpuinfo_max_freq")
        core = parts.get(str(cpu), {})
        told = _midr(folder) or (core.get("CPU implementer", ""), core.get("CPU part", ""))
        found.append(
            Core(
                cpu=cpu,
                design=hybrid.get(cpu) or ARM_CORES.get(told) or " ".join(told).strip(),
                capacity=read_count(folder / "cpu_capacity"),
                max_mhz=khz / 1000 if khz else None,
            )
        )
    return tuple(found)


def kinds(root: Path = ROOT) -> tuple[Kind, ...]:
    """Return the kinds of core that this process may use, the fastest first."""
    found = cores(root)
    speed = _speed(found)
    groups: list[list[Core]] = []
    for core in sorted(found, key=lambda core: (core.design, -speed(core))):
        leader = groups[-1][0] if groups else None
        if leader and leader.design == core.design and speed(core) >= ONE_KIND * speed(leader):
            groups[-1].append(core)
        else:
            groups.append([core])
    alike = [
        Kind(design=group[0].design, speed=speed(group[0]), cpus=tuple(sorted(core.cpu for core in group)))
        for group in groups
    ]
    return tuple(sorted(alike, key=lambda kind: (-kind.speed, kind.cpus)))


def pinning(threads: int, root: Path = ROOT) -> tuple[int, ...]:
    """Return the CPUs to run so many threads on: the fastest kind that has enough, or all where none has.

    Where all cores are alike these are all that the process may use.
    """
    enough = (kind.cpus for kind in kinds(root) if len(kind.cpus) >= threads)
    return next(enough, affinity(root))


def physical_cores(threads: int, root: Path = ROOT) -> tuple[int, ...]:
    """Return one CPU of each of so many physical cores, of those that a run is pinned to; none where they are too few.

    Two threads on the CPUs of one core share its arithmetic, and the kernel numbers them as it likes.
    """
    found, taken = list[int](), set[int]()
    for cpu in pinning(threads, root):
        siblings = cpu_list(read_text(root / CPUS / f"cpu{cpu}/topology/thread_siblings_list"))
        if cpu not in taken:
            found.append(cpu)
        taken |= {cpu, *siblings}
    return tuple(found[:threads]) if len(found) >= threads else ()


def default_threads(root: Path = ROOT) -> int:
    """Return how many threads one kind of core and the cgroup's quota can keep busy.

    The kind is the fastest that has two CPUs or more: one prime core beside three fast ones is not the one.
    """
    found = kinds(root)
    best = next((kind for kind in found if len(kind.cpus) > 1), found[0] if found else None)
    cpus = len(best.cpus) if best else 1
    quota = cgroup.quota(root)
    return cpus if quota is None else max(1, min(cpus, int(quota)))


def _speed(found: Sequence[Core]) -> Callable[[Core], float]:
    """Return what cores are compared by. On Intel's hybrids all capacities may be 1024, and the clock tells more."""
    capacities = {core.capacity for core in found}
    if len(capacities) > 1 and None not in capacities:
        return lambda core: core.capacity or 0
    return lambda core: core.max_mhz or 0.0


def _midr(folder: Path) -> tuple[str, str] | None:
    """Return implementer and part of an ARM core: bits 24 to 31 and 4 to 15 of its main ID register."""
    text = read_text(folder / "regs/identification/midr_el1") or ""
    try:
        value = int(text, 16)
    except ValueError:
        return None
    return f"{value >> 24 & 0xFF:#04x}", f"{value >> 4 & 0xFFF:#05x}"
