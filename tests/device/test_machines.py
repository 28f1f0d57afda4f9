"""Two aarch64 machines that answer to ssh, each with a core of its own."""

import os
import select
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.device import machines, processes
from tests.device.cores import PI4, PI5
from tests.device.machines import Board

HAS_DOT_PRODUCT = """
import struct
words = dict(struct.iter_unpack("=QQ", open("/proc/self/auxv", "rb").read()))
print(words[16] >> 20 & 1)
"""


def opened(number: int) -> int | None:
    """Return a descriptor of a process; None if it has ended, as a connection's sshd does soon after."""
    try:
        return os.pidfd_open(number)
    except ProcessLookupError:
        return None


def test_both_boards_are_aarch64_machines_of_their_own(pi5: Board, pi4: Board) -> None:
    told = [board.ssh("uname -m; hostname; id -un; pwd").stdout.split() for board in (pi5, pi4)]
    assert told == [["aarch64", "pi5", "pi", "/home/pi"], ["aarch64", "pi4", "pi", "/home/pi"]]


def test_each_board_has_the_processor_of_its_model(pi5: Board, pi4: Board) -> None:
    assert [board.ssh("cat /proc/cpuinfo").stdout for board in (pi5, pi4)] == [PI5.cpuinfo(), PI4.cpuinfo()]
    # The text is ours; what programs are told by the machine is QEMU's, and must say the same of the dot product.
    assert [board.ssh("python3 -", given=HAS_DOT_PRODUCT).stdout for board in (pi5, pi4)] == ["1\n", "0\n"]
    assert [PI5.cpuinfo().count("asimddp"), PI4.cpuinfo().count("asimddp")] == [4, 0]


def test_one_configuration_knows_all_boards(both: tuple[Board, Board], tmp_path: Path) -> None:
    config = machines.write_config(tmp_path / "config", both)
    commands = [["ssh", "-F", str(config), board.name, "hostname"] for board in both]
    assert [subprocess.check_output(words, text=True) for words in commands] == ["pi5\n", "pi4\n"]
    written = tomllib.loads(machines.write_inventory(tmp_path / "hosts.toml", both).read_text())
    assert written == {"hosts": {"pi5": {"address": "pi5"}, "pi4": {"address": "pi4"}}}


def test_a_board_sees_its_own_processes_alone(pi5: Board) -> None:
    assert pi5.ssh("ps -A -o comm=").stdout.split() == ["python", "sshd", "sshd", "sshd", "ps"]


def test_a_user_may_write_at_home_and_nowhere_in_the_system(pi5: Board) -> None:
    done = pi5.ssh("echo kept > note; echo no > /usr/bin/note")
    assert (done.returncode, done.stderr.strip()) == (1, "bash: line 1: /usr/bin/note: Read-only file system")
    assert (pi5.home / "note").read_text() == "kept\n"
    assert pi5.path("/home/pi/note").read_text() == "kept\n"
    (pi5.home / "note").unlink()


def test_what_a_board_runs_is_told_and_ends_with_its_power(aarch64: None, tmp_path: Path) -> None:
    with machines.machine("short", PI5, tmp_path / "short") as board:
        board.ssh("sleep 600 > /dev/null 2>&1 &")
        assert board.running() == (("/bin/sleep", "600"),)
        left = (board.first, *processes.descendants(board.first))
        board.off()
        assert [Path(f"/proc/{number}").exists() for number in left] == [False] * len(left)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", board.port))
        board.on()
        assert (board.running(), board.ssh("uname -m").stdout) == ((), "aarch64\n")


def test_nothing_is_left_of_a_board_whose_tests_were_killed(aarch64: None, tmp_path: Path) -> None:
    program = """
import sys
import tomllib
from pathlib import Path
from tests.device import machines, processes
from tests.device.cores import PI5
with machines.machine("lost", PI5, Path(sys.argv[1])) as board:
    board.ssh("sleep 600 > /dev/null 2>&1 &")
    print(board.first, *processes.descendants(board.first), flush=True)
    sys.stdin.read()
"""
    words = [sys.executable, "-c", program, str(tmp_path / "lost")]
    with subprocess.Popen(
        words, cwd=machines.PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        numbers = [int(word) for word in started.stdout.readline().split()]
        assert len(numbers) >= 3
        ends = [opened(number) for number in numbers]
        started.kill()
    # Such a descriptor can be read once its process has ended.
    assert [select.select([end], [], [], 30)[0] for end in ends if end] == [[end] for end in ends if end]
    assert sum(end is not None for end in ends) >= 3
    assert str(tmp_path) not in Path("/proc/mounts").read_text()
