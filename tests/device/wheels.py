"""Python packages for aarch64, got by the host's pip: a folder for each set, and a board sees those that it has."""

import sys
from pathlib import Path
from typing import Literal

from tests.device import cache, host

Wheels = Literal["ai_edge_litert", "executorch", "numpy", "onnxruntime", "openvino", "psutil", "torch"]

PLATFORMS = (
    "manylinux_2_35_aarch64",
    "manylinux_2_28_aarch64",
    "manylinux_2_27_aarch64",
    "manylinux2014_aarch64",
    "manylinux_2_17_aarch64",
)
CONSTRAINTS = Path(__file__).parents[2] / "constraints.txt"
# Named one by one: pip would judge what torch needs by this machine, and take CUDA's libraries for x86.
REQUIREMENTS: dict[Wheels, tuple[str, ...]] = {
    "ai_edge_litert": ("ai-edge-litert",),
    # The newest that goes with that torch. It asks for much that only making files needs.
    "executorch": ("executorch==1.0.1",),
    "numpy": ("numpy",),
    "onnxruntime": ("onnxruntime", "flatbuffers", "packaging", "protobuf"),
    "openvino": ("openvino",),
    "psutil": ("psutil",),
    # The newest from PyPI that is neither CUDA's nor ends with an illegal instruction on a Raspberry Pi 4.
    "torch": (
        "torch==2.9.1",
        "filelock",
        "fsspec",
        "jinja2",
        "markupsafe",
        "mpmath",
        "networkx",
        "sympy",
        "typing-extensions",
    ),
}


def unpacked(name: Wheels) -> Path:
    """Return the folder with a set of packages; all but torch and its like in the versions that the host has."""
    constraints = () if name in ("executorch", "torch") else ("--constraint", str(CONSTRAINTS))
    recipe = f"{REQUIREMENTS[name]} {PLATFORMS} {CONSTRAINTS.read_text() if constraints else ''}"

    def make(folder: Path) -> None:
        options = [
            "--target",
            str(folder),
            "--no-deps",
            "--only-binary=:all:",
            "--quiet",
            "--disable-pip-version-check",
        ]
        kind = ["--implementation", "cp", "--python-version", "3.11"]
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        pip = [sys.executable, "-m", "pip", "install", *options, *kind, *platforms, *constraints]
        host.run(f"{name} for aarch64", [*pip, *REQUIREMENTS[name]])

    return cache.built(f"opt/{name}", recipe, make)
