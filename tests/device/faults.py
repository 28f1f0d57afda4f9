"""What goes wrong with boards, done to one of them and undone at the end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.device import packages, processes, sshd
from tests.device.machines import Board

PYTHONS = ("python3", "python3.11")


@contextmanager
def no_python(board: Board) -> Iterator[None]:
    """Leave a board without any Python."""
    with _pythons(board, {}):
        yield


@contextmanager
def old_python(board: Board) -> Iterator[None]:
    """Leave a board with a Python 3.9 and no other: that of the Debian before."""
    with _pythons(board, {"python3": Path("/opt", packages.old_python().name, "usr/bin/python3.9")}):
        yield


@contextmanager
def small_disk(board: Board, size_bytes: int, folder: str = f"/home/{sshd.USER}/.cache") -> Iterator[None]:
    """Let a folder of a board hold no more than `size_bytes`; what was written there is lost at the end."""
    path = f"{board.folder}/root{folder}"
    there = board.path(folder)
    made = not there.exists()
    there.mkdir(exist_ok=True)
    owned = f"size={size_bytes},mode=755,uid={sshd.USER_ID},gid={sshd.USER_ID}"
    board.inside(["mount", "-t", "tmpfs", "-o", owned, "tmpfs", path])
    try:
        yield
    finally:
        # Lazily: a program of the board may still stand in it.
        board.inside(["umount", "--lazy", path])
        if made:
            there.rmdir()


@contextmanager
def wrong_host_key(board: Board) -> Iterator[None]:
    """Let the host know the board by another key than it has."""
    right = board.known_hosts.read_text()
    other = sshd.new_key(board.folder / "another_key")
    board.known_hosts.write_text(sshd.known_host(board.port, other))
    try:
        yield
    finally:
        board.known_hosts.write_text(right)


@contextmanager
def switched_off(board: Board) -> Iterator[None]:
    """Switch a board off, and on again at the end."""
    board.off()
    try:
        yield
    finally:
        board.on()


@contextmanager
def stalled(board: Board) -> Iterator[None]:
    """Let the open connections hang, as when a network is gone that nobody tells of."""
    stopped = [one for it in board.connections() for one in (it, *_own(it))]
    _send(signal.SIGSTOP, stopped)
    try:
        yield
    finally:
        _send(signal.SIGCONT, stopped)


def cut(board: Board) -> int:
    """End the open connections from the board's side, not what was started through them; return how many there were."""
    connections = board.connections()
    # Whoever stops first cannot see the others end, and say a word of goodbye.
    ended = [one for it in connections for one in (it, *_own(it))]
    _send(signal.SIGSTOP, ended)
    _send(signal.SIGKILL, ended)
    return len(connections)


def _own(connection: int) -> tuple[int, ...]:
    """Return the processes that a connection's sshd has for itself: its user's half."""
    return tuple(it for it in processes.descendants(connection) if "sshd" in "".join(processes.command(it)[:1]))


def _send(number: signal.Signals, to: list[int]) -> None:
    for process in to:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            continue


@contextmanager
def _pythons(board: Board, names: dict[str, Path]) -> Iterator[None]:
    folder = board.folder / "etc/alternatives"
    right = {name: (folder / name).readlink() for name in PYTHONS}
    try:
        for name in PYTHONS:
            (folder / name).unlink()
        for name, target in names.items():
            (folder / name).symlink_to(target)
        yield
    finally:
        for name, target in right.items():
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(target)
