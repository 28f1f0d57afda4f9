"""The first process of a board: mounts what it is made of, starts its sshd, and takes all of it along when it ends.

It runs in mount, process and host name spaces of its own. When its standard input ends, as it does when whoever holds
the other end is gone, it ends; the kernel then kills every process of the board and undoes every mount: there is
nothing that a crash could leave behind. Started as `python -m tests.device.chroot`, with the standard library alone.
"""

import argparse
import os
import select
import socket
import subprocess
import sys
from pathlib import Path

NODES = ("full", "null", "random", "tty", "urandom", "zero")


def main() -> None:
    """Be a board's first process, until standard input ends."""
    arguments = argparse.ArgumentParser()
    for name in ("tree", "opt", "folder"):
        arguments.add_argument(name, type=Path)
    for name in ("name", "port", "cpu"):
        arguments.add_argument(name)
    given = arguments.parse_args()
    # Read before there is a /proc of this board's own: the number by which the host knows this process.
    number = Path("/proc/self").readlink()
    socket.sethostname(given.name)
    root = given.folder / "root"
    _mount_all(given.tree, given.opt, given.folder, root)
    sshd = _start_sshd(root, given.port, given.cpu)
    os.write(1, f"{number}\n".encode())
    _reap(sshd)


def _mount_all(tree: Path, opt: Path, folder: Path, root: Path) -> None:
    _bind(tree, root, read_only=True)
    for name in ("etc", "home", "tmp"):
        _bind(folder / name, root / name)
    _bind(folder / "site", root / "usr/local/lib/python3.11/dist-packages")
    _bind(opt, root / "opt", read_only=True)
    _bind(Path("/sys"), root / "sys", read_only=True)
    _mount("-t", "proc", "proc", str(root / "proc"))
    # With the text of an x86 processor there, ONNX Runtime dies of a segmentation fault.
    _bind(folder / "cpuinfo", root / "proc/cpuinfo", read_only=True)
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(root / "run"))
    (root / "run/sshd").mkdir()
    _mount_devices(root / "dev")


def _mount_devices(folder: Path) -> None:
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(folder))
    for name in NODES:
        (folder / name).touch()
        _bind(Path("/dev", name), folder / name)
    for name, kind, options in (("pts", "devpts", "newinstance,ptmxmode=666"), ("shm", "tmpfs", "mode=1777")):
        (folder / name).mkdir()
        _mount("-t", kind, "-o", options, kind, str(folder / name))
    for name, target in {"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1"}.items():
        (folder / name).symlink_to(target)


def _bind(source: Path, target: Path, *, read_only: bool = False) -> None:
    _mount("--rbind" if source == Path("/sys") else "--bind", str(source), str(target))
    if read_only:
        _mount("-o", "remount,bind,ro", str(target))


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def _start_sshd(root: Path, port: str, cpu: str) -> subprocess.Popen[bytes]:
    command = ["chroot", str(root), "/usr/sbin/sshd", "-D", "-e", "-p", port]
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "QEMU_CPU": cpu}
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)


def _reap(sshd: subprocess.Popen[bytes]) -> None:
    """Wait for the end of standard input, and bury what died meanwhile, as a first process must."""
    while not select.select([0], [], [], 0.05)[0]:
        while (ended := _bury()) is not None:
            if ended == sshd.pid:
                sys.exit("sshd ended")


def _bury() -> int | None:
    try:
        return os.waitpid(-1, os.WNOHANG)[0] or None
    except ChildProcessError:
        return None


if __name__ == "__main__":
    main()
