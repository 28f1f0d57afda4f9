"""What this machine is, and what state it is in. Reads, never writes; what cannot be read is None."""

import ctypes
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.device.cpu import cpu_name, features, kernel, read_text
from runner.device.surroundings import affinity, emulated, usable_cpus, virtual
from runner.report import DeviceFacts, DeviceState, Runtime
from runner.runtimes import KNOWN, installed_version

ROOT = Path("/")
SPEED_VARIABLES = (
    "ATEN_",
    "CUDA_VISIBLE_DEVICES",
    "DNNL_",
    "GLIBC_TUNABLES",
    "GOMP_",
    "KMP_",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "ORT_",
    "PYTORCH_",
    "QEMU_",
    "TORCH_",
    "XNNPACK_",
)
"""How the environment variables begin that change a runtime's speed."""
CUDA_NODES = ("dev/nvidiactl", "dev/nvhost-gpu", "dev/nvhost-ctrl-gpu", "dev/dxg")
CPU_ZONES = ("cpu", "soc", "x86_pkg_temp", "acpitz")
THROTTLED_FILES = ("sys/devices/platform/*firmware/get_throttled", "sys/devices/platform/*/*firmware/get_throttled")
THROTTLED_NOW = 0xF
"""Under-voltage, frequency capped, throttled, soft temperature limit; the bits above tell of the time since boot."""


def facts(root: Path = ROOT, machine: str = "", environment: Mapping[str, str] = os.environ) -> DeviceFacts:
    """Return what the machine is; `machine` is by default what uname says."""
    machine = machine or platform.machine()
    has = features(root, machine)
    runtimes = tuple(
        Runtime(format=name, package=known.package, version=installed_version(name), kernel=kernel(name, machine, has))
        for name, known in KNOWN.items()
    )
    return DeviceFacts(
        machine=machine,
        system=_system(root),
        cpu=cpu_name(root),
        features=has,
        cpus=usable_cpus(root),
        affinity=affinity(root),
        memory_bytes=_memory_bytes(root),
        cuda=cuda_devices(root),
        emulated=emulated(root, machine),
        virtual=virtual(root),
        governor=_governor(root),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        board=read_text(root / "proc/device-tree/model") or read_text(root / "sys/class/dmi/id/product_name"),
        runtimes=runtimes,
        environment={name: environment[name] for name in sorted(environment) if name.startswith(SPEED_VARIABLES)},
    )


def state(root: Path = ROOT) -> DeviceState:
    """Return what the machine is doing now."""
    return DeviceState(
        load_average=_number((read_text(root / "proc/loadavg") or "").split()[:1]),
        temperature_c=_temperature_c(root),
        frequency_mhz=_frequency_mhz(root),
        throttled=_throttled(root),
        steal_fraction=_steal_fraction(root),
    )


def cuda_devices(root: Path = ROOT) -> tuple[str, ...]:
    """Return the names of the CUDA devices, as the driver gives them."""
    # No driver, no device node; and loading libcuda for nothing takes time.
    if not any((root / node).exists() for node in CUDA_NODES):
        return ()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_cuda_name(driver, index) for index in range(count.value))


def _cuda_name(driver: ctypes.CDLL, index: int) -> str:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    failed = driver.cuDeviceGet(ctypes.byref(handle), index) or driver.cuDeviceGetName(name, len(name), handle)
    return "unknown CUDA device" if failed else name.value.decode(errors="replace")


def _system(root: Path) -> str:
    release = read_text(root / "proc/sys/kernel/osrelease") or platform.release()
    lines = (read_text(root / "etc/os-release") or "").splitlines()
    pretty = next((line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")), "")
    return f"Linux {release}" + (f", {pretty}" if pretty else "")


def _memory_bytes(root: Path) -> int | None:
    lines = (read_text(root / "proc/meminfo") or "").splitlines()
    words = next((line.split() for line in lines if line.startswith("MemTotal:")), [])
    total = _number(words[1:2])
    return None if total is None else int(total) * 1024


def _governor(root: Path) -> str | None:
    paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    return " + ".join(dict.fromkeys(text for path in paths if (text := read_text(path)))) or None


def _temperature_c(root: Path) -> float | None:
    """Return the hottest sensor of the CPU, or of all where none says that it is the CPU's."""
    zones = {
        path: value / 1000
        for path in sorted(root.glob("sys/class/thermal/thermal_zone*"))
        if (value := _number([read_text(path / "temp") or ""])) is not None
    }
    of_cpu = [value for path, value in zones.items() if (read_text(path / "type") or "").lower().startswith(CPU_ZONES)]
    return max(of_cpu or zones.values(), default=None)


def _frequency_mhz(root: Path) -> float | None:
    """Return the mean over the CPUs."""
    paths = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq")
    found = [khz / 1000 for path in paths if (khz := _number([read_text(path) or ""])) is not None]
    if not found:
        lines = (read_text(root / "proc/cpuinfo") or "").splitlines()
        texts = [line.partition(":")[2].strip() for line in lines if line.startswith("cpu MHz")]
        found = [mhz for text in texts if (mhz := _number([text])) is not None]
    return sum(found) / len(found) if found else None


def _throttled(root: Path) -> bool | None:
    """Return whether a Raspberry Pi says that it is slowed down now; other boards do not say."""
    text = _vcgencmd(root) or next(
        (text for pattern in THROTTLED_FILES for path in root.glob(pattern) if (text := read_text(path))), ""
    )
    try:
        return bool(int(text.removeprefix("throttled="), 16) & THROTTLED_NOW)
    except ValueError:
        return None


def _vcgencmd(root: Path) -> str | None:
    """Ask the firmware itself, for the file in /sys is a copy that may be old."""
    program = root / "usr/bin/vcgencmd"
    if not program.exists():
        return None
    try:
        return subprocess.run(
            [program, "get_throttled"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _steal_fraction(root: Path) -> float | None:
    lines = (read_text(root / "proc/stat") or "").splitlines()
    words = next((line.split()[1:9] for line in lines if line.startswith("cpu ")), [])
    if len(words) < 8 or not all(word.isdigit() for word in words):
        return None
    return int(words[7]) / max(1, sum(int(word) for word in words))


def _number(words: Sequence[str]) -> float | None:
    try:
        return float(words[0])
    except (IndexError, ValueError):
        return None
