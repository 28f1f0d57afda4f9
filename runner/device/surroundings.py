"""What stands between this process and the hardware: emulation, a hypervisor, a container, a quota."""

from collections.abc import Iterator
from pathlib import Path

from runner.device.cpu import cpuinfo, read_text

FAMILIES = {"x86_64": "x86", "i686": "x86", "x86": "x86", "aarch64": "arm", "armv8l": "arm", "armv7l": "arm"}
VIRTUAL_MAKERS = ("QEMU", "VMware", "Xen", "innotek", "Microsoft", "Google", "Amazon EC2", "DigitalOcean", "OpenStack")
CONTAINERS = ("docker", "kubepods", "containerd", "libpod", "lxc")
CGROUPS = "sys/fs/cgroup"


def emulated(root: Path, machine: str) -> str | None:
    """Return the first sign of user-mode emulation. There are several, for emulators learn to hide one by one."""
    arch = read_text(root / "proc/sys/kernel/arch")
    if arch and _other_family(arch, machine):
        return f"the kernel is built for {arch}, and uname says {machine}"
    modalias = read_text(root / "sys/devices/system/cpu/modalias") or ""
    kind = modalias.removeprefix("cpu:type:").partition(",")[0].partition(":")[0]
    if modalias.startswith("cpu:type:") and _other_family(kind, machine):
        return f"the kernel's CPU is of the type {kind}, and uname says {machine}"
    foreign = {"arm": "vendor_id", "x86": "CPU implementer"}.get(FAMILIES.get(machine, ""))
    if any(foreign in core for core in cpuinfo(root)):
        return f"/proc/cpuinfo has {foreign!r}, which {machine} has not"
    if (read_text(root / f"proc/sys/fs/binfmt_misc/qemu-{machine}") or "").startswith("enabled"):
        return f"the kernel hands {machine} programs to QEMU"
    return None


def virtual(root: Path) -> str | None:
    """Return the hypervisor and the container around this process, if there are any."""
    found = [*_hypervisors(root), *_containers(root)]
    return " with a ".join(found) or None


def affinity(root: Path) -> tuple[int, ...]:
    """Return the CPUs that this process may be scheduled on."""
    status = read_text(root / "proc/self/status") or ""
    line = next((line for line in status.splitlines() if line.startswith("Cpus_allowed_list:")), "")
    ranges = [part.partition("-") for part in line.partition(":")[2].strip().split(",") if part]
    return tuple(cpu for first, _, last in ranges for cpu in range(int(first), int(last or first) + 1))


def usable_cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process can keep busy: its affinity mask, and the whole part of its cgroup's quota."""
    allowed = len(affinity(root)) or 1
    return max(1, min([allowed, *(int(quota) for quota in _quotas(root))]))


def _other_family(kind: str, machine: str) -> bool:
    return kind in FAMILIES and machine in FAMILIES and FAMILIES[kind] != FAMILIES[machine]


def _hypervisors(root: Path) -> Iterator[str]:
    maker = read_text(root / "sys/class/dmi/id/sys_vendor") or ""
    product = read_text(root / "sys/class/dmi/id/product_name") or ""
    flags = " ".join(core.get("flags", "") for core in cpuinfo(root)[:1]).split()
    tree = read_text(root / "proc/device-tree/hypervisor/compatible") or read_text(root / "sys/hypervisor/type")
    # Makers of virtual machines make real ones too: on x86 the CPU itself says which it is.
    if "hypervisor" in flags or tree or (not flags and maker.startswith(VIRTUAL_MAKERS)):
        name = " ".join(dict.fromkeys(word for word in (maker, product, tree or "") if word)) or "unknown hypervisor"
        yield f"virtual machine ({name})"


def _containers(root: Path) -> Iterator[str]:
    groups = read_text(root / "proc/1/cgroup") or ""
    named = read_text(root / "run/systemd/container")
    if (root / ".dockerenv").exists():
        named = "docker"
    elif (root / "run/.containerenv").exists():
        named = "podman"
    named = named or next((name for name in CONTAINERS if name in groups), None)
    if named:
        yield f"container ({named})"


def _quotas(root: Path) -> Iterator[float]:
    """Yield, in CPUs, the limits of this process's cgroup and of all that it lies in, of both versions."""
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = (*line.split(":", 2), "", "")[:3]
        if number == "0" and not controllers:
            for folder in _ancestors(root / CGROUPS, path):
                yield from _quota((read_text(folder / "cpu.max") or "").split())
        elif "cpu" in controllers.split(","):
            for folder in _ancestors(root / CGROUPS / "cpu", path):
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                yield from _quota([text for name in names if (text := read_text(folder / name))])


def _ancestors(top: Path, path: str) -> Iterator[Path]:
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for depth in range(len(parts) + 1):
        yield top.joinpath(*parts[:depth])


def _quota(words: list[str]) -> Iterator[float]:
    """Yield quota / period where there is a quota: version 2 says "max" where not, version 1 says -1."""
    if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
        yield int(words[0]) / int(words[1])
