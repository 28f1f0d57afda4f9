"""What stands between this process and the hardware: emulation, a hypervisor, a container, a mask, a quota."""

from collections.abc import Iterator
from pathlib import Path

from runner.device import cgroup, portable
from runner.device.cpu import cpuinfo
from runner.device.files import cpu_list, read_text
from runner.facts import CONTAINER, WITHIN

FAMILIES = {"x86_64": "x86", "i686": "x86", "x86": "x86", "aarch64": "arm", "armv8l": "arm", "armv7l": "arm"}
EMULATORS = ("qemu-", "rosetta")
"""How the names of the programs begin that run another machine's programs."""
VIRTUAL_MAKERS = ("QEMU", "VMware", "Xen", "innotek", "Microsoft", "Google", "Amazon EC2", "DigitalOcean", "OpenStack")
VIRTUAL_TREE = "linux,dummy-virt"
"""What the device tree of a virtual ARM machine says that it is compatible with."""
BARE_METAL = ".metal"
CONTAINERS = ("docker", "kubepods", "containerd", "libpod", "lxc")
CONTAINER_MOUNTS = {
    "/docker/containers/": "docker",
    "/kubelet/pods/": "kubernetes",
    "/containerd/": "containerd",
    "/libpod/": "podman",
    "/overlay-containers/": "podman",
}
"""From where container programs mount the files that they write for a container, such as /etc/hostname."""


def emulated(root: Path, machine: str) -> str | None:
    """Return the first sign of user-mode emulation. There are several, for emulators learn to hide one by one."""
    return next(_signs(root, machine), None)


def virtual(root: Path) -> str | None:
    """Return the hypervisor and the container around this process, if there are any."""
    found = [*_hypervisors(root), *_containers(root)]
    return WITHIN.join(found) or None


def affinity(root: Path) -> tuple[int, ...]:
    """Return the CPUs that this process may be scheduled on."""
    status = read_text(root / "proc/self/status") or ""
    line = next((line for line in status.splitlines() if line.startswith("Cpus_allowed_list:")), "")
    allowed = cpu_list(line.partition(":")[2])
    # The mask also has CPUs that are switched off, or that a machine only could have.
    online = cpu_list(read_text(root / "sys/devices/system/cpu/online"))
    return tuple(cpu for cpu in allowed if cpu in online or not online)


def usable_cpus(root: Path = Path("/")) -> int:
    """Return how many CPUs this process can keep busy: its affinity mask, and the whole part of its cgroup's quota."""
    allowed = len(affinity(root)) or portable.cpus() or 1
    quota = cgroup.quota(root)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def _signs(root: Path, machine: str) -> Iterator[str]:
    arch = read_text(root / "proc/sys/kernel/arch")
    if arch and _other_family(arch, machine):
        yield f"the kernel is built for {arch}, and uname says {machine}"
    modalias = read_text(root / "sys/devices/system/cpu/modalias") or ""
    kind = modalias.removeprefix("cpu:type:").partition(",")[0].partition(":")[0]
    if modalias.startswith("cpu:type:") and _other_family(kind, machine):
        yield f"the kernel's CPU is of the type {kind}, and uname says {machine}"
    foreign = {"arm": "vendor_id", "x86": "CPU implementer"}.get(FAMILIES.get(machine, ""))
    if any(foreign in core for core in cpuinfo(root)):
        yield f"/proc/cpuinfo has {foreign!r}, which {machine} has not"
    if (read_text(root / f"proc/sys/fs/binfmt_misc/qemu-{machine}") or "").startswith("enabled"):
        yield f"the kernel hands {machine} programs to QEMU"
    if emulator := _mapped_emulator(root):
        yield f"{emulator} is mapped into this process"


def _mapped_emulator(root: Path) -> str | None:
    """Return the emulator among the files that the kernel has mapped into this process.

    QEMU answers for /proc/self/maps itself, and leaves itself out; of the same file by way of the thread it does not
    think (seen with 7.2).
    """
    for maps in root.glob("proc/self/task/*/maps"):
        names = (line.rpartition("/")[2] for line in (read_text(maps) or "").splitlines() if "/" in line)
        return next((name for name in names if name.startswith(EMULATORS)), None)
    return None


def _other_family(kind: str, machine: str) -> bool:
    return kind in FAMILIES and machine in FAMILIES and FAMILIES[kind] != FAMILIES[machine]


def _hypervisors(root: Path) -> Iterator[str]:
    maker = read_text(root / "sys/class/dmi/id/sys_vendor") or ""
    product = read_text(root / "sys/class/dmi/id/product_name") or ""
    flags = " ".join(core.get("flags", "") for core in cpuinfo(root)[:1]).split()
    tree = read_text(root / "proc/device-tree/hypervisor/compatible") or read_text(root / "sys/hypervisor/type")
    if VIRTUAL_TREE in (read_text(root / "proc/device-tree/compatible") or ""):
        tree = tree or VIRTUAL_TREE
    # Makers of virtual machines make real ones too: on x86 the CPU itself says which it is, and Amazon's ARM machines
    # have it in their name.
    made_up = not flags and maker.startswith(VIRTUAL_MAKERS) and not product.endswith(BARE_METAL)
    if "hypervisor" in flags or tree or made_up:
        name = " ".join(dict.fromkeys(word for word in (maker, product, tree or "") if word)) or "unknown hypervisor"
        yield f"virtual machine ({name})"


def _containers(root: Path) -> Iterator[str]:
    groups = read_text(root / "proc/1/cgroup") or ""
    named = read_text(root / "run/systemd/container")
    if (root / ".dockerenv").exists():
        named = "docker"
    elif (root / "run/.containerenv").exists():
        named = "podman"
    elif (root / "run/secrets/kubernetes.io").exists():
        named = "kubernetes"
    named = named or next((name for name in CONTAINERS if name in groups), None) or _mounted_by(root)
    if named:
        yield f"{CONTAINER}{named})"


def _mounted_by(root: Path) -> str | None:
    """Return what wrote this system's /etc/hostname: within its own namespace a container's groups have no name."""
    for line in (read_text(root / "proc/self/mountinfo") or "").splitlines():
        source, target = (*line.split(" "), "", "", "", "", "")[3:5]
        if target in ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"):
            return next((name for part, name in CONTAINER_MOUNTS.items() if part in source), None)
    return None
