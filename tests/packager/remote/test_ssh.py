"""The command that reaches a board."""

import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from packager.remote import link, ssh
from packager.remote.link import Listener
from runner import install
from runner.errors import RuntimeUnavailable
from tests.packager.remote.near import PATIENCE, Near, connected, to

OPTIONS = [
    "-oBatchMode=yes",
    "-oClearAllForwardings=yes",
    "-oControlMaster=no",
    "-oForwardAgent=no",
    "-oForwardX11=no",
    "-oLogLevel=ERROR",
    "-oRemoteCommand=none",
    "-oRequestTTY=no",
    "-oServerAliveCountMax=3",
    "-oServerAliveInterval=10",
    "-oConnectTimeout=20",
]


def test_the_words_of_the_command_are_these() -> None:
    *words, there = ssh.command(to(), connect_s=20)
    assert words == ["ssh", *OPTIONS, "--", "pi@board"]
    assert shlex.split(there) == ["sh", "-c", ssh.FIND.strip(), "edgepack", "", ssh.BOOT]


def test_a_port_and_a_configuration_are_words_of_their_own() -> None:
    board = replace(to(port=2222, python="/opt/a b/python"), ssh_config=Path("-x y"))
    *words, there = ssh.command(board, connect_s=20)
    assert words == ["ssh", "-F", "-x y", *OPTIONS, "-p", "2222", "--", "pi@board"]
    assert shlex.split(there)[4] == "/opt/a b/python"


def test_by_hand_it_is_the_same_board_in_the_same_way() -> None:
    assert ssh.by_hand(to()) == "pi@board"
    assert ssh.by_hand(replace(to(port=2222), ssh_config=Path("my config"))) == "-F 'my config' -p 2222 pi@board"


def test_the_system_s_ssh_understands_every_option() -> None:
    *words, _ = ssh.command(to(), connect_s=20)
    shown = subprocess.run([words[0], "-G", *words[1:]], capture_output=True, text=True, check=False)
    assert (shown.returncode, shown.stderr) == (0, "")
    told = shown.stdout.splitlines()
    assert {"batchmode yes", "connecttimeout 20", "forwardagent no", "user pi", "hostname board"} <= set(told)


@pytest.mark.parametrize("name", ["a b", "it's", '"', "$(touch x)", "`touch x`", "a;touch x", "* [a]", "-x", "%s\\n"])
def test_a_python_s_path_is_read_by_no_shell(name: str, near: Near, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(near.home)
    folder = near.programs / name
    folder.mkdir()
    near.program(f"{name}/python", 'exec python3 "$@"')
    with link.connect(to(python=f"{folder}/python"), patience=PATIENCE) as board:
        said: list[str] = []
        assert board.run(["echo", "$(touch x)", name], Listener(out=said.append)) == 0
        assert said == [f"$(touch x) {name}"]
    assert near.left() == []


def test_a_python_that_is_named_is_the_one_that_is_used_or_none_is(near: Near) -> None:
    near.program("mine", 'echo "$0" >> "$HOME/used"; exec python3 "$@"')
    with link.connect(to(python=str(near.programs / "mine")), patience=PATIENCE):
        pass
    assert (near.home / "used").read_text().splitlines() == [str(near.programs / "mine")] * 2
    with (
        pytest.raises(RuntimeUnavailable, match=r"and Python 3\.11 or newer is needed"),
        link.connect(to(python="/nowhere/python"), patience=PATIENCE),
    ):
        pass


@pytest.mark.parametrize(
    "folder", [".cache/edgepack/venv-1", install.VENV.removeprefix("~/")], ids=["set-up", "advice"]
)
def test_the_python_of_an_earlier_set_up_or_of_our_advice_comes_before_the_system_s(near: Near, folder: str) -> None:
    (near.home / folder / "bin").mkdir(parents=True)
    near.program(f"../home/{folder}/bin/python", 'touch "$HOME/used"; exec python3 "$@"')
    with connected():
        assert (near.home / "used").exists()


def test_what_lies_in_the_home_is_taken_for_no_module_of_python(near: Near) -> None:
    for name in ("json", "select", "hashlib", "torch"):
        (near.home / f"{name}.py").write_text("raise RuntimeError('the wrong one')\n", encoding="utf-8")
    with connected() as board:
        assert board.facts.packages.get("torch") != "unknown"


OLD = 'case "$*" in *version_info?\\[:3\\]*|*"%d.%d.%d"*) echo 3.9.2;; *) exit 1;; esac'


def test_a_board_without_python_is_told_so(near: Near) -> None:
    near.ssh(f'PATH={near.programs}; exec /bin/sh -c "$command"')
    near.program("sh", 'exec /bin/sh "$@"')
    near.program("uname", "echo aarch64")
    with pytest.raises(RuntimeUnavailable) as error, connected():
        pass
    assert error.value.exit_code == 4
    assert error.value.where == "pi"
    assert "no Python, and Python 3.11 or newer is needed (aarch64" in error.value.what
    assert "sudo apt install python3" in error.value.advice
    assert near.left() == []


def test_a_board_whose_python_is_too_old_is_told_which_it_has(near: Near) -> None:
    for name in ("python3", "python3.11", "python3.12", "python3.13", "python3.14"):
        near.program(name, OLD)
    with pytest.raises(RuntimeUnavailable) as error, connected():
        pass
    assert "its Python is 3.9.2, and Python 3.11 or newer is needed" in error.value.what
    assert near.left() == []


def test_a_newer_python_beside_the_old_one_is_found(near: Near) -> None:
    near.program("python3", OLD)
    near.program("python3.13", f'exec {sys.executable} "$@"')
    with connected() as board:
        assert board.folder == str(near.session)
