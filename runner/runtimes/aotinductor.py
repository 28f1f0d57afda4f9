"""AOTInductor packages: native code that PyTorch's compiler has made for one kind of CPU, run by PyTorch.

To load one runs code of its own: only after the bundle's hashes have been held, in a worker or where a program asks
for it by `runner.load`.
"""

import io
import json
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from runner.device.cpu import features, lacking
from runner.errors import RuntimeUnavailable, said
from runner.operators import OperatorTime
from runner.runtimes import OnCpuAlone, Options, Profiling
from runner.runtimes.reader import Reader

NEEDS = "extra/edgepack.json"
"""The entry of a package, after the folder that holds all, that says which CPU and which torch it is for."""
READER = Reader(title="torch", package="torch", version=str(torch.__version__))


@dataclass(frozen=True, kw_only=True, slots=True)
class Needs:
    """What native code cannot do without."""

    machine: str
    instructions: tuple[str, ...]
    torch: str
    """The version that compiled it, whose own functions it calls."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AotInductorSession(OnCpuAlone):
    """A package, loaded."""

    loader: torch._C._aoti.AOTIModelPackageLoader
    provider: str
    version: str

    def run(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logits of prepared samples."""
        with torch.inference_mode():
            (logits,) = self.loader.boxed_run([torch.from_numpy(inputs)])
        found: NDArray[np.float32] = logits.cpu().numpy()
        return found

    def tensors(self, inputs: NDArray[np.float32]) -> tuple[NDArray[np.generic], ...]:
        """Return the logits: compiled code has no other outputs."""
        return (self.run(inputs),)


def load(path: Path, options: Options) -> AotInductorSession:
    """Load a package. Raises RuntimeUnavailable where it is for another machine, CPU or torch, or is none."""
    needs = _needs(path)
    _hold(needs, path)
    torch.set_num_threads(options.threads)
    try:
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), "model", False, 1, -1)  # noqa: SLF001 - torch has no other way without its compiler
    except (RuntimeError, ValueError) as error:
        raise READER.cannot_load(path.name, said(error), made_with=needs.torch) from None
    return AotInductorSession(
        loader=loader, provider=f"torch inductor {options.device}", version=str(torch.__version__)
    )


def profile(path: Path, options: Options, profiling: Profiling) -> Sequence[OperatorTime]:
    """Raise RuntimeUnavailable: compiled code has no operators to tell apart."""
    raise RuntimeUnavailable(
        "AOTInductor has compiled the operators into each other, and has no profiler of its own", where=path.name
    )


def _needs(path: Path) -> Needs:
    try:
        with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
            (name,) = (each for each in archive.namelist() if each.endswith(NEEDS))
            found = json.loads(archive.read(name))
        return Needs(machine=found["machine"], instructions=tuple(found["instructions"]), torch=found["torch"])
    except (zipfile.BadZipFile, ValueError, KeyError, TypeError) as error:
        why = f"no package of edgepack's ({type(error).__name__})"
        raise READER.cannot_load(path.name, why, made_with=None, otherwise="pack it again") from None


def _hold(needs: Needs, path: Path, root: Path = Path("/")) -> None:
    """Raise RuntimeUnavailable where this is not the kind of machine that the code is for."""
    machine = os.uname().machine
    if machine != needs.machine:
        raise RuntimeUnavailable(
            f"is native code for {needs.machine}, and this machine is {machine}",
            where=path.name,
            advice="an ONNX or TorchScript artifact, or pack on such a machine",
        )
    if what := lacking(needs.instructions, features(root, machine)):
        raise RuntimeUnavailable(
            what,
            where=path.name,
            advice="an ONNX or TorchScript artifact, or pack on such a machine",
        )
    version = str(torch.__version__).partition("+")[0]
    if _minor(version) != _minor(needs.torch):
        raise RuntimeUnavailable(
            f"is native code for torch {_minor(needs.torch)}, and this is torch {version}",
            where=path.name,
            advice=f"torch {needs.torch}, or pack it again with this one",
        )


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
