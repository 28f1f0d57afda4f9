"""AOTInductor packages (.pt2): PyTorch's compiler makes native code for this host's CPU, which runs on no lesser one.

The compiler's package holds its sources and an id of chance beside the code, and the code holds paths of this machine:
the first two are left out, and the paths are told to be others (`-ffile-prefix-map`).
"""

import contextlib
import io
import json
import os
import platform
import re
import shutil
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from packager.export import Exported
from packager.failing_layer import ADVICE, failing_layer
from packager.quiet import quiet
from runner import device
from runner.errors import StepError, first_line
from runner.runtimes.aotinductor import NEEDS

ADDRESS = re.compile(rb"(?<= at 0x)[0-9a-f]{6,}")
DIGEST = re.compile(r"/(c[a-z2-7]{50,})\.wrapper")
COMPILER = """#!/bin/sh
case " $* " in *" -shared "*) set -- "$@" -s -Wl,--build-id=none ;; esac
exec {cxx} "$@" -g0 {options}
"""
EPOCH = (1980, 1, 1, 0, 0, 0)
COMPILERS = ("g++", "clang++", "c++")
FOLDER = "model"
WITHOUT = (".cpp", "/serialization_id", ".kernel_metadata.json")
CACHE, TRITON, PREFIX_MAP = "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "-ffile-prefix-map={}={}"


def compiler() -> str:
    """Return the C++ compiler that is here. Raises StepError where there is none."""
    named = [os.environ["CXX"]] if os.environ.get("CXX") else []
    found = next(filter(None, map(shutil.which, (*named, *COMPILERS))), None)
    if found is None:
        raise StepError(
            "AOTInductor needs a C++ compiler, and there is none here", advice="sudo apt install g++, or leave it out"
        )
    return found


def instructions() -> tuple[str, ...]:
    """Return the instruction sets that native code of this host may use: it is compiled with -march=native."""
    return device.facts().features


def export(module: nn.Module, example: Tensor) -> Exported:
    """Return the network as native code for one sample at a time.

    Raises StepError where no compiler is here, and naming the layer that cannot be exported.
    """
    cxx = compiler()
    with quiet(), torch.no_grad():
        try:
            program = torch.export.export(module, (example,))
        except Exception as error:
            layer = failing_layer(module, lambda network: torch.export.export(network, (example,)))
            what = f"the network cannot be exported, in {layer}: {first_line(error)}"
            raise StepError(what, advice=ADVICE) from error
        with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
            try:
                content = _compiled(program, Path(folder), cxx)
            except Exception as error:
                what = f"AOTInductor cannot compile the network: {first_line(error)}"
                raise StepError(what, advice="leave it out: an ONNX or TorchScript artifact runs it") from error
    return Exported(content=_reproducible(content), dynamic_batch=False)


def _compiled(program: "torch.export.ExportedProgram", folder: Path, cxx: str) -> bytes:
    from torch import _inductor  # noqa: PLC0415 - heavy
    from torch._inductor import config  # noqa: PLC0415 - as above

    package = folder / "model.pt2"
    # A compiler of that very name, which tells no paths of this machine.
    wrapper = folder / Path(cxx).name
    # Of several that fit the last one holds.
    maps = [(str(Path.cwd()), "here"), (sys.prefix, "env"), (sysconfig.get_path("purelib"), "lib"), (str(folder), ".")]
    options = " ".join(f"'{PREFIX_MAP.format(*each)}'" for each in maps)
    wrapper.write_text(COMPILER.format(cxx=cxx, options=options), encoding="utf-8")
    wrapper.chmod(0o755)
    changed = {
        "cpp.cxx": (None, str(wrapper)),
        "freezing": True,
        "cpp.dynamic_threads": True,  # else the code has as many as this process
        "fx_graph_cache": False,
        "cpp_cache_precompile_headers": False,  # they would lie outside the folder
    }
    with _caches(folder), config.patch(changed):
        _inductor.aoti_compile_and_package(program, package_path=str(package))
    return package.read_bytes()


@contextlib.contextmanager
def _caches(folder: Path) -> Iterator[None]:
    """Keep what the compiler writes in one folder."""
    before = {name: os.environ.get(name) for name in (CACHE, TRITON)}
    os.environ |= {CACHE: str(folder / "inductor"), TRITON: str(folder / "triton")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _reproducible(content: bytes) -> bytes:
    """Return the package with what it needs written in it, and without sources, dates and ids of chance.

    The compiler notes functions of its own by their address, and calls files by the digest of such notes.
    """
    file = io.BytesIO()
    needs = {
        "machine": platform.machine(),
        "instructions": instructions(),
        "torch": str(torch.__version__).partition("+")[0],
    }
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w") as target:
        entries = {name: source.read(name) for name in source.namelist() if not name.endswith(WITHOUT)}
        entries = dict(_renamed(entries))
        entries[f"{FOLDER}/{NEEDS}"] = json.dumps(needs).encode()
        for name in sorted(entries):
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            target.writestr(info, entries[name])
    return file.getvalue()


def _renamed(entries: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield the entries with one name for the network's code, of the same length, and no addresses."""
    digests = {found[1] for name in entries if (found := DIGEST.search(name))}
    for name, content in entries.items():
        plain = ADDRESS.sub(lambda found: b"0" * len(found[0]), content)
        for digest in digests:
            name = name.replace(digest, "network".ljust(len(digest), "_"))  # noqa: PLW2901 - the same entry
            plain = plain.replace(digest.encode(), b"network".ljust(len(digest), b"_"))
        yield name, plain
