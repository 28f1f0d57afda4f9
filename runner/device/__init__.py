"""What this machine is, and what state it is in. Reads, never writes; what cannot be read is None."""

import os
import platform
from collections.abc import Mapping
from pathlib import Path

from runner.device import cgroup, portable
from runner.device.counters import sensors
from runner.device.cpu import cpu_name, features, kernel
from runner.device.cuda import cuda_devices
from runner.device.files import count, read_pairs, read_text
from runner.device.gpu import GpuSensor, find_gpu
from runner.device.nvml import Closed
from runner.device.surroundings import affinity, emulated, usable_cpus, virtual
from runner.facts import DeviceFacts, DeviceState, Runtime
from runner.runtimes import KNOWN, installed_version

ROOT = Path("/")
SPEED_VARIABLES = (
    "ATEN_",
    "CUBLAS_",
    "CUDA_DEVICE_",
    "CUDA_LAUNCH_",
    "CUDA_MODULE_",
    "CUDA_VISIBLE_DEVICES",
    "CUDNN_",
    "DNNL_",
    "GLIBC_TUNABLES",
    "GOMP_",
    "KMP_",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "ORT_",
    "OV_",
    "PYTORCH_",
    "QEMU_",
    "TORCH_",
    "XNNPACK_",
)
"""How the environment variables begin that change a runtime's speed."""


def facts(root: Path = ROOT, machine: str = "", environment: Mapping[str, str] = os.environ) -> DeviceFacts:
    """Return what the machine is; `machine` is by default what uname says."""
    machine = machine or platform.machine()
    has = features(root, machine)
    devices = cuda_devices(root)
    gpu = find_gpu(root, devices) if devices else None
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
        cpu_quota=cgroup.quota(root),
        memory_bytes=_memory_bytes(root),
        cuda=tuple(device.name for device in devices),
        emulated=emulated(root, machine),
        virtual=virtual(root),
        governor=_governor(root),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        board=read_text(root / "proc/device-tree/model") or read_text(root / "sys/class/dmi/id/product_name"),
        runtimes=runtimes,
        environment={name: environment[name] for name in sorted(environment) if name.startswith(SPEED_VARIABLES)},
        gpu=gpu.facts() if isinstance(gpu, GpuSensor) else None,
        gpu_unknown=gpu.reason if isinstance(gpu, Closed) else "",
    )


def state(root: Path = ROOT) -> DeviceState:
    """Return what the machine is doing now."""
    gpu = find_gpu(root)
    now = sensors(root, gpu=gpu if isinstance(gpu, GpuSensor) else None).read()
    return DeviceState(
        load_average=now.load_average,
        temperature_c=now.temperature_c,
        frequency_mhz=now.frequency_mhz,
        throttled=None if now.throttled_now is None else bool(now.throttled_now),
        steal_fraction=now.steal_fraction,
        gpu=now.gpu,
    )


def _system(root: Path) -> str:
    release = read_text(root / "proc/sys/kernel/osrelease") or platform.release()
    lines = (read_text(root / "etc/os-release") or "").splitlines()
    pretty = next((line.partition("=")[2].strip("\"'") for line in lines if line.startswith("PRETTY_NAME=")), "")
    return f"Linux {release}" + (f", {pretty}" if pretty else "")


def _memory_bytes(root: Path) -> int | None:
    total_kib = count(read_pairs(root / "proc/meminfo").get("MemTotal"))
    return portable.memory_bytes() if total_kib is None else total_kib * 1024


def _governor(root: Path) -> str | None:
    paths = sorted(root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor"))
    return " + ".join(dict.fromkeys(text for path in paths if (text := read_text(path)))) or None
