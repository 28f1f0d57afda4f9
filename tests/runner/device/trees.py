"""Machines as trees of files, for code that takes a root."""

from collections.abc import Mapping
from pathlib import Path

PI5_FEATURES = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PI4_FEATURES = "fp asimd evtstrm crc32 cpuid"
X86_VNNI = "fpu sse4_2 f16c fma avx2 avx512f avx512bw avx512_vnni hypervisor"
X86_AVX2 = "fpu sse4_2 f16c fma avx2"


def tree(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write the files of a machine under a root of its own."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def arm_cpuinfo(features: str, part: str, cores: int = 4, first: int = 0) -> str:
    """Return what /proc/cpuinfo says of ARM cores, numbered from `first`."""
    core = (
        "processor\t: {}\nBogoMIPS\t: 108.00\nFeatures\t: {}\nCPU implementer\t: 0x41\n"
        "CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: {}\nCPU revision\t: 1\n\n"
    )
    return "".join(core.format(index, features, part) for index in range(first, first + cores))


def x86_cpuinfo(flags: str, cores: int = 2) -> str:
    """Return what /proc/cpuinfo says of x86 cores."""
    core = "processor\t: {}\nvendor_id\t: GenuineIntel\nmodel name\t: Example CPU\ncpu MHz\t\t: {}\nflags\t\t: {}\n\n"
    return "".join(core.format(index, 2000 + 100 * index, flags) for index in range(cores))


def program(root: Path, name: str, script: str) -> Path:
    """Put a shell script where a machine has a program."""
    tree(root, {name: f"#!/bin/sh\n{script}\n"})
    (root / name).chmod(0o755)
    return root
