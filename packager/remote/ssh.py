"""The command that starts the agent on a board: the system's OpenSSH, with the user's keys and configuration.

Nothing that a user names is read by a shell: an address is one word for ssh, a Python's path one for the board's.
"""

import shlex
from pathlib import Path

from packager.remote import agent
from packager.remote.destination import Destination

MODULES = ("channel", "place", "groups", "janitor", "facts", "session", "main")
"""Of the agent, each after those that it imports."""
FOLDER = Path(agent.__file__).parent
LOADER = """
import sys, types
for name, source in MODULES:
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
module.main()
"""
# Python runs what comes after the line that says how many bytes it is: nothing is written, and no quoting is needed.
BOOT = "import sys; exec(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))"
# The board's own shell finds a Python that suffices: first those of a set-up and of the environment that runner.install
# advises, then the system's. Every word in here is constant, and the one that is not is "$1".
# An empty line before all else, for a greeting may end without one; -P, for a home may have a json.py.
FIND = """
echo
for p in "$1" "${XDG_CACHE_HOME:-$HOME/.cache}"/edgepack/venv*/bin/python \
"$HOME"/.edgepack/bin/python python3 python3.14 python3.13 python3.12 python3.11; do
  if [ -n "$p" ] && "$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; then
    exec "$p" -P -c "$2"
  fi
  if [ -n "$p" ] && [ "$p" = "$1" ]; then break; fi
done
bits() { case "$(od -An -tu1 -j4 -N1 /bin/sh 2>/dev/null)" in *1*) echo 32;; *2*) echo 64;; esac; }
plain() { tr -d '"\\\\[:cntrl:]'; }
printf '{"edgepack": 1, "no_python": {"found": "%s", "machine": "%s", "bits": "%s", "system": "%s", "board": "%s", \
"features": "%s"}}\\n' \
"$("${1:-python3}" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)" "$(uname -m)" \
"$(bits)" "$(sed -n 's/^PRETTY_NAME=//p' /etc/os-release 2>/dev/null | plain)" \
"$(cat /proc/device-tree/model 2>/dev/null | plain)" \
"$(grep -m 1 -E '^(Features|flags)' /proc/cpuinfo 2>/dev/null | cut -d : -f 2 | plain)"
"""
OPTIONS = {
    "BatchMode": "yes",  # no password is asked for, and none is read
    "ClearAllForwardings": "yes",
    "ControlMaster": "no",  # a shared connection that is there is used, but none is left behind
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "LogLevel": "ERROR",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ServerAliveCountMax": "3",
    "ServerAliveInterval": "10",
}


def command(destination: Destination, connect_s: float) -> list[str]:
    """Return the words of the command that reaches a board and runs there what comes through its input."""
    options = [f"-o{name}={value}" for name, value in {**OPTIONS, "ConnectTimeout": f"{connect_s:.0f}"}.items()]
    there = shlex.join(["sh", "-c", FIND.strip(), "edgepack", destination.host.python or "", BOOT])
    return ["ssh", *_config(destination), *options, *_port(destination), "--", destination.host.address, there]


def by_hand(destination: Destination) -> str:
    """Return what follows `ssh` where somebody tries it in a shell."""
    return shlex.join([*_config(destination), *_port(destination), destination.host.address])


def program() -> bytes:
    """Return what the agent's Python is to run, behind a line with its length."""
    sources = [(f"{agent.__name__}.{name}", (FOLDER / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    source = f"MODULES = {sources!r}\n{LOADER}".encode()
    return b"%d\n%b" % (len(source), source)


def _config(destination: Destination) -> list[str]:
    return ["-F", str(destination.ssh_config)] if destination.ssh_config else []


def _port(destination: Destination) -> list[str]:
    return ["-p", str(destination.host.port)] if destination.host.port else []
