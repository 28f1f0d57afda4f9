"""How what a board lacks is installed on it: the exact command, or why there is none. Light, and of the board alone.

As of late 2026: onnxruntime and torch have wheels for 64-bit x86 and ARM with glibc, and no source distribution, so
that piwheels, which builds for 32-bit ARM, has neither (piwheels/packages#202). The current onnxruntime wants Python
3.11. PyPI's torch for ARM is made for CUDA since 2.11, and 2.10 dies on a Raspberry Pi 4 (pytorch/pytorch#176993).
"""

import platform
import shlex
import struct
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from runner.errors import RuntimeUnavailable, first_line

LEAST_PYTHON = (3, 11)
WHEELS = ("x86_64", "amd64", "aarch64", "arm64")
"""What 64-bit machines call themselves that the runtimes have wheels for."""
ARM = ("aarch64", "arm64")
RUNTIMES = ("onnxruntime", "torch", "ai_edge_litert", "openvino", "executorch")
ARM_TORCH, ARM_TORCH_PYTHON = "torch==2.9.1", (3, 14)
"""The last for the CPU alone on PyPI that runs on every 64-bit ARM, and the last Python that it has wheels for."""
ARM_EXECUTORCH, ARM_EXECUTORCH_PYTHON = "executorch==1.0.1", (3, 12)
"""The last that goes with this torch, and the last Python that it has wheels for."""
NO_DEPS = "--no-deps"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
VENV = "~/.edgepack"
"""Where a system that keeps its own Python to itself has room for ours."""
MARKER = "EXTERNALLY-MANAGED"
"""The file beside the standard library by which a system says that pip is to leave it alone: PEP 668."""
NEWER_PYTHON = "a newer system (Raspberry Pi OS 12, Debian 12, Ubuntu 24.04), or without root: uv python install 3.12"
LARGER_SYSTEM = "a 64-bit system, which a Raspberry Pi 3 or later can run"
STILL = "`verify`, `compare` and `device` work here all the same"


@dataclass(frozen=True, kw_only=True, slots=True)
class Interpreter:
    """A Python, here or on another board, as far as it decides what can be installed for it and how."""

    machine: str
    """What uname says: of the kernel, which may be a 64-bit one under a 32-bit system."""
    bits: int
    """Of a pointer in this Python."""
    version: tuple[int, int]
    executable: str = "python3"
    system: str = "Linux"
    musl: bool = False
    """Whether the C library is musl, as on Alpine."""
    in_venv: bool = False
    managed: bool = False
    """Whether the system keeps pip from installing beside it (PEP 668); not so within a virtual environment."""
    has_pip: bool = True
    has_venv: bool = True
    """Whether `python3 -m venv` works, for which Debian has a package of its own."""
    cuda: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Remedy:
    """What is to be done about packages that are missing."""

    problem: str = ""
    """Why they cannot be installed there; empty where they can."""
    advice: str
    """The command that installs them, or the way out."""


def here(cuda: bool = False) -> Interpreter:
    """Return the Python that runs this, on a machine that has a CUDA device or has none."""
    in_venv = sys.prefix != sys.base_prefix
    return Interpreter(
        machine=platform.machine(),
        bits=8 * struct.calcsize("P"),
        version=sys.version_info[:2],
        executable=sys.executable or "python3",
        system=platform.system(),
        musl="musl" in str(sysconfig.get_config_var("HOST_GNU_TYPE")),
        in_venv=in_venv,
        managed=not in_venv and Path(sysconfig.get_path("stdlib"), MARKER).exists(),
        # Not find_spec: setuptools listens there, and warns of distutils when anybody looks for pip.
        has_pip=PathFinder.find_spec("pip") is not None,
        has_venv=find_spec("ensurepip") is not None,
        cuda=cuda,
    )


def remedy(packages: Sequence[str], python: Interpreter) -> Remedy:
    """Return how packages come to a board, or why they do not and what then."""
    if python.version < LEAST_PYTHON:
        found = f"edgepack needs Python {_dotted(LEAST_PYTHON)} or newer, and this is {_dotted(python.version)}"
        return Remedy(problem=found, advice=NEWER_PYTHON)
    runtimes = " and ".join(package for package in packages if package in RUNTIMES)
    if not runtimes:
        return Remedy(advice=command(packages, python))
    have = "have" if " and " in runtimes else "has"
    if python.bits < 64:
        problem = f"{runtimes} {have} no wheels for a 32-bit system ({python.machine}, Python of {python.bits} bits)"
        return Remedy(problem=problem, advice=f"{LARGER_SYSTEM}; {STILL}")
    if python.system == "Linux" and python.musl:
        problem = f"{runtimes} {have} no wheels for a system with musl"
        return Remedy(problem=problem, advice=f"a system with glibc, such as Debian; {STILL}")
    if python.machine.lower() not in WHEELS:
        problem = f"{runtimes} {have} no wheels for {python.machine}"
        return Remedy(problem=problem, advice=f"a build of your own; {STILL}")
    return Remedy(advice=command(packages, python))


def hold_numpy(*, to_measure: bool = False) -> None:
    """Raise RuntimeUnavailable where there is no numpy, and how to install it, with a runtime if one is needed."""
    try:
        import numpy as np  # noqa: F401, PLC0415 - to see whether there is one
    except ModuleNotFoundError as error:
        what = "numpy is not installed here" if error.name == "numpy" else _broken(error)
    except ImportError as error:
        what = _broken(error)
    else:
        return
    without_runtime = to_measure and not any(find_spec(runtime) for runtime in RUNTIMES)
    found = remedy(("numpy", "onnxruntime") if without_runtime else ("numpy",), here())
    raise RuntimeUnavailable("; ".join(filter(None, (what, found.problem))), advice=found.advice)


def _broken(error: ImportError) -> str:
    return f"numpy cannot be imported here: {first_line(error)}"


def command(packages: Sequence[str], python: Interpreter) -> str:
    """Return the line for a shell that installs packages, as that system lets one."""
    if python.bits < 64 and not python.in_venv and tuple(packages) == ("numpy",):
        return "sudo apt install python3-numpy"  # as long as PyPI has no wheel of it for 32 bits
    if python.in_venv or (python.has_pip and not python.managed):
        return _join([(python.executable, "-m", "pip", "install", *each) for each in pip_installs(packages, python)])
    # A new environment has nothing yet, and every runtime is used with numpy.
    whole = tuple(dict.fromkeys(("numpy", *packages)))
    makes = f"{shlex.quote(python.executable)} -m venv {VENV}"
    fills = (f"{VENV}/bin/pip install {shlex.join(each)}" for each in pip_installs(whole, python))
    first = () if python.has_venv else ("sudo apt install python3-venv",)
    return f"{' && '.join((*first, makes, *fills))}, and from then on {VENV}/bin/python"


def pip_installs(packages: Sequence[str], python: Interpreter) -> tuple[tuple[str, ...], ...]:
    """Return what follows each `pip install`: torch needs one of its own where it comes from another index.

    ExecuTorch has one too: what it asks for is for making files, gigabytes of it, and to run them it needs torch alone.
    """
    others = tuple(package for package in packages if package not in ("torch", "executorch"))
    if "executorch" in packages:
        own = _torch(python, latest=ARM_EXECUTORCH_PYTHON)
        named = ARM_EXECUTORCH if own == (ARM_TORCH,) else "executorch"
        return (*_with_torch(others, own), (NO_DEPS, named))
    return _with_torch(others, _torch(python) if "torch" in packages else ())


def _with_torch(others: tuple[str, ...], own: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    if len(own) == 1:
        return ((*others, *own),)
    return tuple(words for words in (others, own) if words)


def _torch(python: Interpreter, latest: tuple[int, int] = ARM_TORCH_PYTHON) -> tuple[str, ...]:
    """Return what `pip install` is given for a torch that suits the board: without a GPU, without CUDA's libraries."""
    if python.cuda or python.system != "Linux":
        return ("torch",)
    if python.machine.lower() in ARM and python.version <= latest:
        return (ARM_TORCH,)
    return ("--index-url", CPU_INDEX, "torch")


def _join(commands: Sequence[Sequence[str]]) -> str:
    return " && ".join(shlex.join(each) for each in commands)


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
