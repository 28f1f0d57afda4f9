"""What the CPU is and what its int8 arithmetic will be, read from /proc and /sys."""

import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from runner.device.files import read_text
from runner.manifest import Engine, Format

X86_FEATURES = (
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512_bf16",
    "avx512_fp16",
    "avx512_vnni",
    "avx_vnni",
    "amx_bf16",
    "amx_int8",
)
HWCAP, HWCAP2 = 16, 26
ARM_FEATURES = {
    "asimd": (HWCAP, 1),
    "asimdhp": (HWCAP, 10),
    "asimddp": (HWCAP, 20),
    "sve": (HWCAP, 22),
    "sve2": (HWCAP2, 1),
    "i8mm": (HWCAP2, 13),
    "bf16": (HWCAP2, 14),
}
"""Which word of the auxiliary vector, and which bit of it: Linux, arch/arm64/include/uapi/asm/hwcap.h."""

AVX512_NONE, AVX2_NONE = "AVX-512 without VNNI (may saturate)", "AVX2 (may saturate)"
X86_KERNELS: tuple[tuple[tuple[Format, ...], str, str], ...] = (
    (("onnx", "openvino"), "amx_int8", "AMX int8"),
    (("onnx", "torchscript", "openvino", "aotinductor"), "avx512_vnni", "AVX512-VNNI"),
    (("onnx", "openvino"), "avx_vnni", "AVX-VNNI"),
    (("onnx", "torchscript", "openvino", "aotinductor"), "avx512bw", AVX512_NONE),
    (("onnx", "torchscript", "openvino", "aotinductor"), "avx2", AVX2_NONE),
)
"""Which runtimes have int8 kernels for which feature, best first, and what to call them."""
X86_NONE = "none (SSE only: may saturate)"
QNNPACK_ON_X86 = "QNNPACK on x86: right answers, and slow"
QNNPACK_ON_ARM = "QNNPACK on NEON, without dot product"
ARM_NONE = "none (NEON without dot product: int8 may gain nothing)"
XNNPACK: tuple[Format, ...] = ("litert", "executorch")
"""The runtimes that have its kernels."""
XNNPACK_X86 = {"avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "avx512bw": "AVX-512 without VNNI", "avx2": "AVX2"}
"""What XNNPACK's integer kernels use, best first: all of them are exact, those without VNNI in 16 bits."""
XNNPACK_SSE = "SSE"
SATURATING = (AVX512_NONE, AVX2_NONE, X86_NONE)
"""Kernels of x86 that add two products of 8 bits in 16, which may not hold them."""

ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd05"): "Cortex-A55",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd09"): "Cortex-A73",
    ("0x41", "0xd0a"): "Cortex-A75",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd0d"): "Cortex-A77",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd41"): "Cortex-A78",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd44"): "Cortex-X1",
    ("0x41", "0xd46"): "Cortex-A510",
    ("0x41", "0xd47"): "Cortex-A710",
    ("0x41", "0xd49"): "Neoverse-N2",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd80"): "Cortex-A520",
    ("0x41", "0xd81"): "Cortex-A720",
}


def cpuinfo(root: Path) -> tuple[Mapping[str, str], ...]:
    """Return /proc/cpuinfo: the keys of each processor."""
    blocks = (read_text(root / "proc/cpuinfo") or "").split("\n\n")
    rows = [[line.partition(":") for line in block.splitlines() if ":" in line] for block in blocks]
    return tuple({key.strip(): value.strip() for key, _, value in row} for row in rows if row)


def cpu_name(root: Path) -> str:
    """Return what the CPU's cores are called."""
    names = dict.fromkeys(_core_names(root))
    return " + ".join(names) or "unknown"


def features(root: Path, machine: str) -> tuple[str, ...]:
    """Return the instruction sets that matter to int8 and half precision, of those that the CPU has."""
    listed = " ".join(core.get("flags", core.get("Features", "")) for core in cpuinfo(root)[:1]).split()
    if machine != "aarch64":
        return tuple(name for name in X86_FEATURES if name in listed)
    # The kernel's own word to this process comes first: /proc/cpuinfo is text, and sometimes another CPU's.
    words = _auxiliary_vector(root)
    if HWCAP not in words:
        return tuple(name for name in ARM_FEATURES if name in listed)
    return tuple(name for name, (word, bit) in ARM_FEATURES.items() if words.get(word, 0) >> bit & 1)


def lacking(instructions: Iterable[str], has: Collection[str]) -> str:
    """Return what is said of native code for instructions that a CPU lacks; nothing where it has all of them."""
    absent = [each for each in instructions if each not in has]
    return f"is native code for a CPU with {', '.join(absent)}, which this one lacks" if absent else ""


def kernel(runtime: Format, machine: str, has: tuple[str, ...], engine: Engine | None = None) -> str:
    """Say what a runtime's int8 arithmetic will use on a CPU with these features; `engine` is TorchScript's."""
    if machine == "aarch64":
        return _arm_kernel(runtime, has, engine)
    if runtime in XNNPACK:
        return XNNPACK_X86.get(next((each for each in XNNPACK_X86 if each in has), ""), XNNPACK_SSE)
    if runtime == "torchscript" and engine == "qnnpack":
        return QNNPACK_ON_X86
    for runtimes, feature, words in X86_KERNELS:
        if runtime in runtimes and feature in has:
            return words
    return X86_NONE


def _arm_kernel(runtime: Format, has: tuple[str, ...], engine: Engine | None) -> str:
    if runtime == "torchscript":
        return QNNPACK_ON_ARM if engine in (None, "qnnpack") else f"that of the engine {engine}, unknown here"
    if "i8mm" in has:
        return "I8MM (SMMLA, UMMLA)"
    if "asimddp" in has:
        return "SDOT and UDOT"
    return ARM_NONE


def _core_names(root: Path) -> Iterator[str]:
    for core in cpuinfo(root):
        if "model name" in core:
            yield core["model name"]
        elif "CPU part" in core:
            identity = (core.get("CPU implementer", ""), core["CPU part"])
            yield ARM_CORES.get(identity, f"ARM implementer {identity[0]} part {identity[1]}")


def _auxiliary_vector(root: Path) -> Mapping[int, int]:
    """Return /proc/self/auxv, pairs of 64-bit words: what getauxval answers, and no call into C."""
    try:
        data = (root / "proc/self/auxv").read_bytes()
    except OSError:
        return {}
    return dict(struct.iter_unpack("=QQ", data[: len(data) // 16 * 16]))
