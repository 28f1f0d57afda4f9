"""What int8 will bring on a board, said before anything is packed for it or measured there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from packaging.version import InvalidVersion, Version

import targets
from runner.device.cpu import ARM_FEATURES, X86_FEATURES
from runner.device.forecast import ARM, X86, Speedup, forecast
from runner.facts import DeviceFacts
from runner.manifest import Artifact, Format, Target
from runner.reason import Reason
from runner.runtimes import KNOWN

VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
FAULTY, CUDA_ONLY = Version("2.10"), Version("2.11")
DOT_PRODUCT = "asimddp"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outlook:
    """What int8 will be in one runtime."""

    format: Format
    package: str
    kernel: str | None
    speedup: Speedup | None
    """None where nobody has measured it."""
    reasons: tuple[Reason, ...]


def features_in(machine: str, listed: str) -> tuple[str, ...]:
    """Return the instruction sets that matter, of those that /proc/cpuinfo lists."""
    known: Sequence[str] = tuple(ARM_FEATURES) if machine == ARM else X86_FEATURES
    return tuple(name for name in known if name in listed.split())


def target_for(machine: str, features: Sequence[str]) -> Target | None:
    """Return the target that suits a machine's CPU; None where there is none."""
    if machine == ARM:
        return targets.load("arm-qnnpack")
    if machine == X86:
        return targets.load("x86" if any(name in features for name in VNNI) else "x86-avx2")
    return None


def outlooks(machine: str, features: tuple[str, ...]) -> tuple[Outlook, ...]:
    """Return what int8 will be in each runtime, on a machine with 64-bit programs."""
    target = target_for(machine, features)
    if target is None:
        return ()
    return tuple(
        _outlook(each.format, target, machine, features) for each in target.artifacts if each.precision == "int8"
    )


def trouble(package: str, version: str, machine: str, features: Sequence[str]) -> str:
    """Return why an installed runtime will not run on such a machine; empty where nothing is known against it."""
    if package != "torch" or machine != ARM:
        return ""
    try:
        found = Version(version)
    except InvalidVersion:
        return ""
    if found.release[:2] == FAULTY.release and DOT_PRODUCT not in features:
        return f"torch {version} has instructions that this CPU lacks, and dies (seen on a Raspberry Pi 4)"
    if found >= CUDA_ONLY and not found.local:
        return f"torch {version} from PyPI is made for CUDA on ARM, and cannot be imported without its libraries"
    return ""


def _outlook(kind: Format, target: Target, machine: str, features: tuple[str, ...]) -> Outlook:
    artifact = Artifact(
        name=f"int8.{kind}",
        path="",
        precision="int8",
        format=kind,
        engine=target.engine if kind == "torchscript" else None,
        made_with={},
    )
    found = forecast(artifact, _bare(machine, features), target)
    reasons = (*found.reasons, *_torch_reasons(kind, machine))
    return Outlook(
        format=kind, package=KNOWN[kind].package, kernel=found.kernel, speedup=found.speedup, reasons=reasons
    )


def _torch_reasons(kind: Format, machine: str) -> Iterator[Reason]:
    if kind == "torchscript" and machine == ARM:
        yield Reason(
            code="torch-for-arm",
            level="note",
            detail="of torch, 2.9.1 is the newest on PyPI that is for the CPU alone and runs on every 64-bit ARM: 2.10 "
            "has instructions that a Raspberry Pi 4 lacks, and later ones are made for CUDA (420 MB and more)",
        )


def _bare(machine: str, features: tuple[str, ...]) -> DeviceFacts:
    """Return a machine of which only that is known which a forecast goes by."""
    return DeviceFacts(
        machine=machine,
        system="",
        cpu="",
        features=features,
        cpus=1,
        affinity=(),
        memory_bytes=None,
        cuda=(),
        emulated=None,
        virtual=None,
        governor=None,
        python="",
        board=None,
        runtimes=(),
        environment={},
    )
