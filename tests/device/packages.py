"""Debian's packages for aarch64, got by the host's apt and unpacked: no install script is run."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.device import cache, host

BOOKWORM, BULLSEYE = "bookworm", "bullseye"
SYSTEM = (
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "findutils",
    "grep",
    "hostname",
    "libgomp1",
    "libstdc++6",
    "openssh-server",
    "procps",
    "python3",
    "python3-venv",
    "sed",
    "usr-is-merged",  # the other choice is a Perl program, and all of Perl with it
)
OLD_PYTHON = ("python3.9-minimal", "libpython3.9-minimal", "libpython3.9-stdlib")
MOUNTED_ON = ("dev", "etc", "home", "opt", "proc", "run", "sys", "tmp", "usr/local/lib/python3.11/dist-packages")
PYTHON = "usr/lib/python3.11/bin/python3.11"
"""Where the board's Python lies. Its names in usr/bin lead there by way of etc/alternatives, which is each board's own,
so that a board can lose its Python, or have another one."""
COMPILE = ("-m", "compileall", "-q", "-x", "/(test|tests|idlelib|lib2to3|tkinter|pydoc_data)/", "/usr/lib/python3.11")
"""What the package's install script does. Without, every start of Python compiles what it imports: seconds there."""


def system() -> Path:
    """Return the root of a Debian 12 with Python 3.11 and sshd, which nobody may write to."""
    return cache.built("debian", f"{BOOKWORM} {SYSTEM} {MOUNTED_ON} {PYTHON} {COMPILE}", _unpack_system)


def old_python() -> Path:
    """Return a folder with a Python 3.9, that of Debian 11: an executable usr/bin/python3.9."""
    return cache.built("opt/python", f"{BULLSEYE} {OLD_PYTHON}", _unpack_old_python)


def _unpack_system(tree: Path) -> None:
    _unpack(BOOKWORM, ["install", "--yes", "--download-only", *SYSTEM], tree)
    for name in MOUNTED_ON:
        (tree / name).mkdir(parents=True, exist_ok=True)
    (tree / PYTHON).parent.mkdir()
    (tree / "usr/bin/python3.11").rename(tree / PYTHON)
    for name in ("python3", "python3.11"):
        link = tree / "usr/bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(f"/etc/alternatives/{name}")
    host.run("a compiled standard library", ["chroot", str(tree), f"/{PYTHON}", *COMPILE])


def _unpack_old_python(tree: Path) -> None:
    # Only these: what else they need is in the boards' own system.
    _unpack(BULLSEYE, ["download", *OLD_PYTHON], tree)


def _mirror() -> str:
    """Return where this host gets Debian's packages: there are those for aarch64 as well. Raises UnavailableError."""
    ask = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(RELEASE) $(REPO_URI)"]
    what = "the host's sources of packages"
    told = host.run(what, ask)
    if not told.strip():  # nobody has updated its lists yet
        host.run(what, ["apt-get", "update"])
        told = host.run(what, ask)
    # Security updates come from elsewhere, and their release is called bookworm-security or so.
    found = (words for line in told.splitlines() if len(words := line.split()) == 3)
    mirror = next((uri for origin, release, uri in found if origin == "Debian" and "-" not in release), None)
    if mirror is None:
        raise host.UnavailableError("apt gets no packages of Debian here")
    return mirror


def _unpack(suite: str, command: Sequence[str], tree: Path) -> None:
    """Let an apt that knows of no other system download for aarch64, and unpack all that came."""
    state = tree.with_name(f"{tree.name}.apt")
    shutil.rmtree(state, ignore_errors=True)
    for name in ("lists/partial", "archives/partial"):
        (state / name).mkdir(parents=True)
    (state / "status").touch()
    (state / "sources.list").write_text(f"deb [signed-by={host.KEYRING}] {_mirror()} {suite} main\n")
    settings = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Dir::Cache": state,
        "Dir::Cache::Archives": state / "archives",
        "Dir::Etc::SourceList": state / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": state / "lists",
        "Dir::State::Status": state / "status",
        "Debug::NoLocking": "true",
    }
    apt = ["apt-get", *(word for key, value in settings.items() for word in ("-o", f"{key}={value}"))]
    what = f"Debian's {suite} for aarch64"
    host.run(what, [*apt, "update", "--error-on=any"])
    # `apt-get download` writes where it stands, `install` into the archives.
    host.run(what, ["sh", "-c", 'cd "$0" && exec "$@"', str(state / "archives"), *apt, *command])
    for package in sorted((state / "archives").glob("*.deb")):
        host.run(what, ["dpkg", "-x", str(package), str(tree)])
    shutil.rmtree(state)
