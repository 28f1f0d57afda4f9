"""What goes wrong with a board is what would go wrong with a real one, and is undone afterwards."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.device import faults, processes
from tests.device.machines import Board

VERSION = "import sys; print(sys.version_info[:2])"


@contextmanager
def session(board: Board, command: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a command there that says `ready`, and yield the ssh through which it runs."""
    words = ["ssh", "-F", str(board.config), board.name, command]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "ready\n"
        yield started
        started.kill()


def test_a_board_can_lose_its_python(pi5: Board) -> None:
    with faults.no_python(pi5):
        told = [pi5.ssh(name, "-") for name in ("python3", "python3.11")]
    assert [done.returncode for done in told] == [127, 127]
    assert told[0].stderr == "bash: line 1: python3: command not found\n"
    assert pi5.ssh("python3 -", given=VERSION).stdout == "(3, 11)\n"


def test_a_board_can_have_an_old_python(pi5: Board, python39: None) -> None:
    with faults.old_python(pi5):
        assert pi5.ssh("python3 -", given=f"import json, subprocess; {VERSION}").stdout == "(3, 9)\n"
        refused = pi5.ssh("python3 -", given="match 1:\n    case _: pass\n")
        assert "SyntaxError: invalid syntax" in refused.stderr
        assert pi5.ssh("python3.11 -V").returncode == 127


def test_a_folder_can_be_a_small_disk(pi5: Board) -> None:
    with faults.small_disk(pi5, 64 << 10):
        done = pi5.ssh("echo fits > .cache/note; head -c 100000 /dev/zero > .cache/large")
        assert (done.returncode, done.stderr.strip()) == (
            1,
            "head: error writing 'standard output': No space left on device",
        )
        assert pi5.path("/home/pi/.cache/note").read_text() == "fits\n"
    assert [path.name for path in pi5.home.iterdir()] == [".ssh"]


def test_a_host_can_know_a_board_by_another_key(pi5: Board) -> None:
    with faults.wrong_host_key(pi5):
        done = pi5.ssh("true")
    assert done.returncode == 255
    assert "REMOTE HOST IDENTIFICATION HAS CHANGED" in done.stderr
    assert pi5.ssh("true").returncode == 0


def test_a_board_that_is_off_refuses(pi4: Board) -> None:
    with faults.switched_off(pi4):
        done = pi4.ssh("true")
    assert (done.returncode, done.stderr.strip().endswith("Connection refused")) == (255, True)
    assert pi4.ssh("true").returncode == 0


def test_a_connection_that_is_cut_leaves_its_program_alone(pi5: Board, pi4: Board) -> None:
    with session(pi5, "echo ready; cat; sleep 600") as broken, session(pi4, "echo ready; cat") as other:
        assert faults.cut(pi5) == 1
        assert broken.wait(timeout=30) == 255
        assert other.poll() is None
        # What was started lives on, as on a real board: its end of input alone can tell it.
        while ("/bin/cat",) in pi5.running():
            time.sleep(0.05)
        assert ("/bin/sleep", "600") in pi5.running()
    with faults.switched_off(pi5):
        assert processes.children(pi5.first) == ()


def test_a_connection_can_hang_and_come_back(pi5: Board) -> None:
    with session(pi5, "echo ready; cat") as started:
        assert started.stdin is not None
        assert started.stdout is not None
        with faults.stalled(pi5):
            started.stdin.write("late\n")
            started.stdin.flush()
            with pytest.raises(subprocess.TimeoutExpired):
                started.wait(timeout=1)
        assert started.stdout.readline() == "late\n"
