"""What the host must have and be allowed, for it to hold machines of another kind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BINFMT = Path("/proc/sys/fs/binfmt_misc")
ENTRY = BINFMT / "qemu-aarch64"
MAGIC = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
COMMANDS = ("apt-get", "dpkg", "unshare", "nsenter", "mount", "chroot")
NAMESPACES = ("--mount", "--pid", "--uts", "--fork", "--kill-child", "--propagation", "private")


class UnavailableError(Exception):
    """Why no such machine can be had here, in one line."""


def prepare() -> None:
    """Install what is missing, and let the kernel hand aarch64 programs to QEMU.

    Raises UnavailableError with the first thing that stands in the way.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        raise UnavailableError("needs root on Linux: the machines are made of mounts and namespaces")
    if missing := [name for name in COMMANDS if shutil.which(name) is None]:
        raise UnavailableError(f"needs Debian's tools, and there is no {missing[0]}")
    _install()
    run("a mount namespace", ["unshare", *NAMESPACES, "true"])
    _register()


def run(what: str, command: Sequence[str], *, environment: dict[str, str] | None = None) -> str:
    """Return what a command printed; one that fails is told as what could not be had."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        lines = (done.stderr.strip() or done.stdout.strip() or "it said nothing").splitlines()
        told = next((line for line in lines if line.startswith(("E:", "ERROR:"))), lines[-1])
        raise UnavailableError(f"could not get {what}: {command[0]} ended with {done.returncode}: {told}")
    return done.stdout


def _install() -> None:
    needed = {
        "qemu-user-static": MAGIC.exists(),
        "openssh-client": bool(shutil.which("ssh") and shutil.which("ssh-keygen")),
        "debian-archive-keyring": KEYRING.exists(),
    }
    names = [name for name, there in needed.items() if not there]
    if names:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "-o", "DPkg::Lock::Timeout=120", "install", "--yes", "--no-install-recommends", *names]
        run("the lists of packages", ["apt-get", "update"], environment=environment)
        run(" and ".join(names), install, environment=environment)
    if not MAGIC.exists():
        raise UnavailableError(f"qemu-user-static has no {MAGIC}")


def _register() -> None:
    """Register QEMU with the kernel where nobody has: flag F, so that the machines need not contain it."""
    if not (BINFMT / "register").exists():
        run("binfmt_misc", ["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if not ENTRY.exists():
        try:
            (BINFMT / "register").write_text(MAGIC.read_text())
        except OSError as error:
            raise UnavailableError(f"the kernel takes no new kind of program: {error}") from None
    entry = ENTRY.read_text()
    flags = next((line.partition(":")[2].strip() for line in entry.splitlines() if line.startswith("flags:")), "")
    if not entry.startswith("enabled") or "F" not in flags:
        raise UnavailableError(f"{ENTRY} is disabled, or lacks the flag F: as root, echo -1 > {ENTRY}")
