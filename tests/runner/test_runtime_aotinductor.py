"""Packages of native code that are refused before any of it is run."""

import json
import os
import zipfile
from pathlib import Path

import pytest
import torch

from runner.errors import RuntimeUnavailable
from runner.runtimes import Options, Profiling, aotinductor

TORCH = str(torch.__version__).partition("+")[0]
ELSEWHERE = "\n  try: an ONNX or TorchScript artifact, or pack on such a machine"


def package(path: Path, **changed: object) -> Path:
    """Write a package without code in it."""
    needs = {"machine": os.uname().machine, "instructions": [], "torch": TORCH, **changed}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/extra/edgepack.json", json.dumps(needs))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(RuntimeUnavailable) as caught:
        aotinductor.load(path, Options(threads=1))
    return str(caught.value)


def test_code_for_instructions_that_this_cpu_lacks_is_refused_with_their_names(tmp_path: Path) -> None:
    path = package(tmp_path / "net.pt2", instructions=["avx1024f", "amx_fp4"])
    assert refusal(path) == (
        f"net.pt2: is native code for a CPU with avx1024f, amx_fp4, which this one lacks{ELSEWHERE}"
    )


def test_code_for_another_machine_is_refused(tmp_path: Path) -> None:
    path = package(tmp_path / "net.pt2", machine="riscv64")
    assert refusal(path) == (
        f"net.pt2: is native code for riscv64, and this machine is {os.uname().machine}{ELSEWHERE}"
    )


def test_code_for_another_torch_is_refused_with_the_one_that_can(tmp_path: Path) -> None:
    assert refusal(package(tmp_path / "net.pt2", torch="2.6.0")) == (
        f"net.pt2: is native code for torch 2.6, and this is torch {TORCH}"
        "\n  try: torch 2.6.0, or pack it again with this one"
    )


def test_a_file_that_is_no_package_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    path.write_bytes(b"nothing of the kind" * 50)
    assert refusal(path) == (
        f"net.pt2: torch {torch.__version__} cannot load it: no package of edgepack's (BadZipFile)"
        "\n  try: pack it again"
    )


def test_a_package_without_code_is_refused_in_one_line(tmp_path: Path) -> None:
    found = refusal(package(tmp_path / "net.pt2"))
    assert found.startswith(f"net.pt2: torch {torch.__version__} cannot load it: ")
    assert found.endswith(f"\n  try: pack it again: it was made with torch {TORCH}, which is no newer")


def test_it_has_no_profiler(tmp_path: Path) -> None:
    profiling = Profiling(inputs=(), warmups=0, folder=tmp_path)
    with pytest.raises(RuntimeUnavailable, match="has no profiler of its own"):
        aotinductor.profile(tmp_path / "net.pt2", Options(threads=1), profiling)
