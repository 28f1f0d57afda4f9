"""Emulated aarch64 boards, each with a real sshd on a loopback port of its own."""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.device import cache, host, packages, processes, sshd, wheels
from tests.device.cores import Core

PROJECT = Path(__file__).parents[2]
START_S = 30.0
SSH_S = 500.0


def prepare() -> None:
    """Get all that boards need, so that making them needs no network. Raises UnavailableError."""
    host.prepare()
    packages.system()
    for name in wheels.REQUIREMENTS:
        wheels.unpacked(name)


class Board:
    """One machine: its files lie in `folder` and outlive its being switched off."""

    def __init__(self, name: str, core: Core, folder: Path) -> None:
        self.name = name
        self.core = core
        self.folder = folder
        self.port = _free_port()
        self.identity = folder / "identity"
        self.known_hosts = folder / "known_hosts"
        self.config = folder / "config"
        self._first: subprocess.Popen[str] | None = None
        self.first = 0
        """The host's number of the board's first process."""
        self._make()

    def on(self) -> None:
        """Switch it on, and wait until sshd answers."""
        (self.folder / "root").mkdir(exist_ok=True)
        opt = cache.folder() / "opt"
        opt.mkdir(parents=True, exist_ok=True)
        places = [str(packages.system()), str(opt), str(self.folder)]
        program = [sys.executable, "-m", "tests.device.chroot", *places, self.name, str(self.port), self.core.qemu]
        with self.log.open("a") as log:
            self._first = subprocess.Popen(
                ["unshare", *host.NAMESPACES, *program],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        assert self._first.stdout is not None
        told = self._first.stdout.readline()
        if not told:
            raise host.UnavailableError(f"{self.name} did not start: {self.log.read_text().strip()[-500:]}")
        self.first = int(told)
        self._wait_for_sshd()

    def off(self) -> None:
        """Switch it off at once: its processes are killed, its connections are refused."""
        if self._first is not None:
            self._first.communicate()
            self._first = None

    @property
    def log(self) -> Path:
        """What its sshd said."""
        return self.folder / "sshd.log"

    @property
    def home(self) -> Path:
        """The home folder of its user, on the host."""
        return self.folder / "home" / sshd.USER

    def has(self, *names: wheels.Wheels) -> None:
        """Let its Python find these sets of packages, and no others."""
        folders = [Path("/opt") / wheels.unpacked(name).name for name in names]
        (self.folder / "site/board.pth").write_text("".join(f"{folder}\n" for folder in folders))

    def sweep(self) -> None:
        """Remove all from its user's home but the keys, such as what ONNX Runtime keeps there for itself."""
        for path in self.home.iterdir():
            if path.name != ".ssh":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def ssh(self, *command: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command line there, as a user's ssh does, with what it reads from standard input."""
        words = ["ssh", "-F", str(self.config), self.name, *command]
        return subprocess.run(words, input=given, capture_output=True, text=True, timeout=SSH_S, check=False)

    def inside(self, command: Sequence[str]) -> None:
        """Run one of the host's commands among the board's mounts, as root."""
        subprocess.run(["nsenter", "--target", str(self.first), "--mount", *command], check=True)

    def path(self, path: str) -> Path:
        """Return where the host finds one of its paths, while it is on: what is mounted there is seen."""
        return Path(f"/proc/{self.first}/root{self.folder}/root") / path.lstrip("/")

    def connections(self) -> tuple[int, ...]:
        """Return the sshd that each connection has: the host's numbers of the processes."""
        return processes.children(self._listener())

    def running(self) -> tuple[tuple[str, ...], ...]:
        """Return the command lines of all that runs there but sshd: nothing, on a board that is left alone."""
        own = {self._listener(), *processes.descendants(self._listener())}
        lines = {it: processes.command(it) for it in processes.descendants(self.first)}
        return tuple(words for it, words in lines.items() if words and not (it in own and "sshd" in words[0]))

    def _listener(self) -> int:
        """Return the sshd that takes connections. It is the first child; others fell to the first process later."""
        return processes.children(self.first)[0]

    def _make(self) -> None:
        for name in ("home", "tmp", "site"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "tmp").chmod(0o1777)
        (self.folder / "cpuinfo").write_text(self.core.cpuinfo())
        etc = self.folder / "etc"
        sshd.write_system(packages.system(), etc, name=self.name, cpu=self.core.qemu)
        for name in ("python3", "python3.11"):
            (etc / "alternatives" / name).symlink_to(f"/{packages.PYTHON}")
        sshd.write_home(self.home, sshd.new_key(self.identity))
        host_key = (etc / "ssh/ssh_host_ed25519_key.pub").read_text()
        self.known_hosts.write_text(sshd.known_host(self.port, host_key))
        self.config.write_text(
            sshd.CLIENT.format(
                name=self.name,
                port=self.port,
                user=sshd.USER,
                identity=self.identity,
                known_hosts=self.known_hosts,
            )
        )

    def _wait_for_sshd(self) -> None:
        assert self._first is not None
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._first.poll() is None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=START_S) as link:
                    if link.recv(4) == b"SSH-":
                        return
            except OSError:
                time.sleep(0.02)
        self.off()
        raise host.UnavailableError(f"the sshd of {self.name} does not answer: {self.log.read_text().strip()[-500:]}")


@contextmanager
def machine(name: str, core: Core, folder: Path) -> Iterator[Board]:
    """Make a board in a folder that does not exist, switch it on, and off at the end."""
    board = Board(name, core, folder)
    try:
        board.on()
        yield board
    finally:
        board.off()


@contextmanager
def boards(folder: Path, **cores: Core) -> Iterator[tuple[Board, ...]]:
    """Make several boards, by their names, in folders of their own."""
    with ExitStack() as stack:
        yield tuple(stack.enter_context(machine(name, core, folder / name)) for name, core in cores.items())


def write_config(path: Path, several: Sequence[Board]) -> Path:
    """Write a configuration for ssh, `ssh -F`, that knows several boards by their names."""
    path.write_text("\n".join(board.config.read_text() for board in several))
    return path


def write_inventory(path: Path, several: Sequence[Board]) -> Path:
    """Write an inventory of boards for `pack bench`, to be used with such a configuration."""
    path.write_text("\n".join(f'[hosts.{board.name}]\naddress = "{board.name}"\n' for board in several))
    return path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
