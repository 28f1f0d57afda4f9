"""`pack doctor` as a user has it, by an ssh that runs on this machine what it is to run on the board."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SSH = '#!/bin/sh\nfor there; do :; done\nexec sh -c "$there"\n'


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an inventory of boards that are this machine: one with all it needs, one with a bare Python, one old."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    venv.create(tmp_path / "bare", symlinks=True)
    old = tmp_path / "old-python"
    old.write_text('#!/bin/sh\ncase "$2" in *print*) echo 3.9.2;; *) exit 1;; esac\n')
    old.chmod(0o755)
    pythons = {"full": Path(sys.executable), "bare": tmp_path / "bare/bin/python", "old": old}
    inventory = tmp_path / "hosts.toml"
    inventory.write_text("".join(f'[hosts.{name}]\naddress = "pi"\npython = "{it}"\n' for name, it in pythons.items()))
    return inventory


def doctor(inventory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edgepack import pack; pack()", "doctor", "--inventory", str(inventory)]
    return subprocess.run([*command, *words], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_board_that_has_all_is_told_so(board: Path, tmp_path: Path) -> None:
    done = doctor(board, "full")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("full: ")
    assert "Nothing is missing: a bundle can run there." in done.stdout
    assert "Pack for it: pack --target " in done.stdout
    assert not (tmp_path / "cache").exists()


def test_a_board_that_lacks_something_is_exit_code_4(board: Path, tmp_path: Path) -> None:
    done = doctor(board, "bare")
    assert done.returncode == 4, done.stderr
    assert "numpy and onnxruntime are not installed there" in done.stdout
    (lack,) = json.loads(doctor(board, "bare", "--json").stdout)["missing"]
    assert lack["advice"].endswith(f"{tmp_path}/bare/bin/python -m pip install numpy onnxruntime")


def test_an_old_python_is_exit_code_4_with_what_the_shell_knows(board: Path) -> None:
    done = doctor(board, "old", "--json")
    assert done.returncode == 4, done.stderr
    found = json.loads(done.stdout)
    assert found["board"] is None
    assert found["no_python"]["found"] == "3.9.2"
    assert found["missing"][0]["what"].startswith("its Python is 3.9.2, and Python 3.11 or newer is needed")


def test_an_offline_set_up_needs_a_set_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from edgepack import pack; pack()", "bench", "net.edgepack", "--on", "pi"]
    done = subprocess.run([*command, "--offline"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: --offline: is for a set-up\n  try: --setup --offline\n",
    )
