"""How a board is told to install what it lacks: for every kind of board the exact words."""

import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest

from runner import install
from runner.install import Interpreter, Remedy

BOARD = Interpreter(machine="aarch64", bits=64, version=(3, 11), executable="/usr/bin/python3", managed=True)
"""A Raspberry Pi 4 or 5 with the 64-bit Raspberry Pi OS 12."""
FREE = replace(BOARD, managed=False)
SERVER = Interpreter(machine="x86_64", bits=64, version=(3, 12), executable="/opt/my env/bin/python", in_venv=True)
OLD_BOARD = Interpreter(machine="armv7l", bits=32, version=(3, 11), executable="/usr/bin/python3", managed=True)
LARGER = (
    "a 64-bit system, which a Raspberry Pi 3 or later can run; `verify`, `compare` and `device` work here all the same"
)
NEWER = "a newer system (Raspberry Pi OS 12, Debian 12, Ubuntu 24.04), or without root: uv python install 3.12"


@pytest.mark.parametrize(
    ("python", "packages", "advice"),
    [
        pytest.param(
            BOARD,
            ("onnxruntime",),
            "/usr/bin/python3 -m venv ~/.edgepack && ~/.edgepack/bin/pip install numpy onnxruntime, "
            "and from then on ~/.edgepack/bin/python",
            id="a system that keeps pip out gets an environment, with numpy in it",
        ),
        pytest.param(
            replace(BOARD, has_venv=False),
            ("numpy", "onnxruntime"),
            "sudo apt install python3-venv && /usr/bin/python3 -m venv ~/.edgepack && "
            "~/.edgepack/bin/pip install numpy onnxruntime, and from then on ~/.edgepack/bin/python",
            id="and first what makes environments, where that is a package of its own",
        ),
        pytest.param(
            replace(FREE, has_pip=False),
            ("onnxruntime",),
            "/usr/bin/python3 -m venv ~/.edgepack && ~/.edgepack/bin/pip install numpy onnxruntime, "
            "and from then on ~/.edgepack/bin/python",
            id="no pip: an environment brings one",
        ),
        pytest.param(
            replace(BOARD, in_venv=True, managed=False, executable="/home/pi/venv/bin/python"),
            ("onnxruntime",),
            "/home/pi/venv/bin/python -m pip install onnxruntime",
            id="an environment is filled as it is",
        ),
        pytest.param(
            FREE, ("torch",), "/usr/bin/python3 -m pip install torch==2.9.1", id="64-bit ARM: the last for the CPU"
        ),
        pytest.param(
            replace(FREE, version=(3, 15)),
            ("torch",),
            "/usr/bin/python3 -m pip install --index-url https://download.pytorch.org/whl/cpu torch",
            id="64-bit ARM, a Python that the last for the CPU has no wheel for",
        ),
        pytest.param(
            SERVER,
            ("numpy", "torch"),
            "'/opt/my env/bin/python' -m pip install numpy && '/opt/my env/bin/python' -m pip install --index-url "
            "https://download.pytorch.org/whl/cpu torch",
            id="x86 without a GPU, and a path with a space",
        ),
        pytest.param(
            replace(SERVER, cuda=True, executable="/venv/bin/python"),
            ("torch", "numpy"),
            "/venv/bin/python -m pip install numpy torch",
            id="x86 with a GPU",
        ),
        pytest.param(
            replace(SERVER, system="Darwin", machine="arm64", executable="python"),
            ("torch",),
            "python -m pip install torch",
            id="macOS",
        ),
        pytest.param(OLD_BOARD, ("numpy",), "sudo apt install python3-numpy", id="numpy on 32-bit ARM"),
        pytest.param(
            replace(OLD_BOARD, in_venv=True, managed=False, executable="/v/bin/python"),
            ("numpy",),
            "/v/bin/python -m pip install numpy",
            id="numpy in an environment on 32-bit ARM, where piwheels has it",
        ),
        pytest.param(
            replace(BOARD, musl=True, managed=False, executable="python3"),
            ("numpy", "psutil"),
            "python3 -m pip install numpy psutil",
            id="musl has wheels of what is no runtime",
        ),
    ],
)
def test_a_board_gets_the_command_that_works_there(python: Interpreter, packages: tuple[str, ...], advice: str) -> None:
    assert install.remedy(packages, python) == Remedy(advice=advice)


@pytest.mark.parametrize(
    ("python", "packages", "remedy"),
    [
        pytest.param(
            OLD_BOARD,
            ("onnxruntime",),
            Remedy(problem="onnxruntime has no wheels for a 32-bit system (armv7l, Python of 32 bits)", advice=LARGER),
            id="32-bit ARM",
        ),
        pytest.param(
            replace(BOARD, bits=32),
            ("numpy", "onnxruntime", "torch"),
            Remedy(
                problem="onnxruntime and torch have no wheels for a 32-bit system (aarch64, Python of 32 bits)",
                advice=LARGER,
            ),
            id="a 32-bit system under a 64-bit kernel",
        ),
        pytest.param(
            replace(OLD_BOARD, machine="armv6l", version=(3, 9)),
            ("onnxruntime",),
            Remedy(problem="edgepack needs Python 3.11 or newer, and this is 3.9", advice=NEWER),
            id="an old Python comes first",
        ),
        pytest.param(
            replace(SERVER, version=(3, 10)),
            ("numpy",),
            Remedy(problem="edgepack needs Python 3.11 or newer, and this is 3.10", advice=NEWER),
            id="an old Python on x86",
        ),
        pytest.param(
            replace(BOARD, musl=True),
            ("torch",),
            Remedy(
                problem="torch has no wheels for a system with musl",
                advice="a system with glibc, such as Debian; `verify`, `compare` and `device` work here all the same",
            ),
            id="musl",
        ),
        pytest.param(
            replace(BOARD, machine="riscv64"),
            ("onnxruntime",),
            Remedy(
                problem="onnxruntime has no wheels for riscv64",
                advice="a build of your own; `verify`, `compare` and `device` work here all the same",
            ),
            id="a machine without wheels",
        ),
    ],
)
def test_a_board_that_cannot_have_it_is_told_why_and_the_way_out(
    python: Interpreter, packages: tuple[str, ...], remedy: Remedy
) -> None:
    assert install.remedy(packages, python) == remedy


def test_what_follows_pip_install_is_apart_where_the_index_is_another() -> None:
    both = ("torch", "onnxruntime")
    assert install.pip_installs(both, SERVER) == (
        ("onnxruntime",),
        ("--index-url", "https://download.pytorch.org/whl/cpu", "torch"),
    )
    assert install.pip_installs(both, BOARD) == (("onnxruntime", "torch==2.9.1"),)
    assert install.pip_installs(("torch",), SERVER) == (
        ("--index-url", "https://download.pytorch.org/whl/cpu", "torch"),
    )
    assert install.pip_installs((), SERVER) == ()


@pytest.mark.parametrize(
    ("python", "installs"),
    [
        (BOARD, (("numpy", "torch==2.9.1"), ("--no-deps", "executorch==1.0.1"))),
        (
            replace(BOARD, version=(3, 13)),
            (
                ("numpy",),
                ("--index-url", "https://download.pytorch.org/whl/cpu", "torch"),
                ("--no-deps", "executorch"),
            ),
        ),
        (
            SERVER,
            (
                ("numpy",),
                ("--index-url", "https://download.pytorch.org/whl/cpu", "torch"),
                ("--no-deps", "executorch"),
            ),
        ),
        (replace(SERVER, cuda=True), (("numpy", "torch"), ("--no-deps", "executorch"))),
    ],
    ids=["ARM", "ARM, a Python that the last for this torch has no wheel for", "x86", "x86 with a GPU"],
)
def test_executorch_comes_alone_beside_a_torch_that_it_goes_with(
    python: Interpreter, installs: tuple[tuple[str, ...], ...]
) -> None:
    assert install.pip_installs(("numpy", "executorch"), python) == installs
    assert install.pip_installs(("numpy", "torch", "executorch"), python) == installs


HERE = "from runner import install; it = install.here(); print(it.in_venv, it.managed, it.executable, it.bits, it.musl)"


def asked(python: Path, *options: str) -> list[str]:
    root = Path(__file__).parent.parent.parent
    found = subprocess.run([python, *options, "-c", HERE], cwd=root, capture_output=True, text=True, check=True)
    return found.stdout.split()


def test_a_virtual_environment_knows_itself_and_leaves_the_systems_marker_to_the_system(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    bits = "64" if sys.maxsize > 2**32 else "32"
    assert asked(python) == ["True", "False", str(python), bits, "False"]


@pytest.mark.parametrize("managed", [True, False])
def test_the_marker_beside_the_standard_library_is_seen(
    managed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if managed:
        (tmp_path / install.MARKER).write_text("[externally-managed]\n", encoding="ascii")
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path) if name == "stdlib" else "")
    assert install.here().managed is managed
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    assert install.here().managed is False
