"""What the host may ask for: to take a file, to give one, to run a program."""

import hashlib
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from packager.remote.agent.channel import BLOCK_BYTES, SILENCE_S, Channel, Lost, Refused, refusal
from packager.remote.agent.groups import signal_group, stop
from packager.remote.agent.janitor import Janitor
from packager.remote.agent.place import TEMPORARY, Place

PYTHON = "python"
"""As the first word of a command: the Python that runs this."""
STOPS = {"stop": signal.SIGINT, "kill": signal.SIGKILL}


class Session:
    """What the host has done here."""

    def __init__(self, channel: Channel, place: Place, janitor: Janitor) -> None:
        self._channel = channel
        self._folder = place.folder
        self._janitor = janitor

    def serve(self) -> list[str]:
        """Do what the host asks, until it closes the session, and return the names of what is to be kept."""
        while True:
            message = self._channel.receive()
            try:
                match message["do"]:
                    case "put":
                        self._put(message)
                    case "run":
                        self._run(message)
                    case "get":
                        self._get(message)
                    case "close":
                        return [str(name) for name in message["keep"]]
            except Refused as refused:
                self._channel.send({"refused": {"code": refused.code, "what": str(refused)}})
            except OSError as error:
                self._channel.send(refusal(error))

    def _put(self, message: dict[str, Any]) -> None:
        """Take a file, from where an earlier attempt ended."""
        path = self._path(message["name"])
        if path.is_file() and path.stat().st_size == message["size_bytes"] and _sha256(path) == message["sha256"]:
            self._channel.send({"have_bytes": message["size_bytes"], "whole": True})
            return
        part = path.with_name(f".{message['sha256'][:16]}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            if file.tell() > message["size_bytes"]:
                file.truncate(0)
                file.seek(0)
            have = file.tell()
            self._channel.send({"have_bytes": have})
            while have < message["size_bytes"]:
                following = self._channel.receive()
                if following["do"] != "data":
                    self._channel.put_back(following)
                    return
                data = self._channel.payload(following["bytes"])
                file.write(data)
                file.flush()
                have += len(data)
                self._channel.send({"have_bytes": have})
            os.fsync(file.fileno())
        if _sha256(part) != message["sha256"]:
            part.unlink()
            raise Refused("changed", "it arrived otherwise than it was sent")
        part.replace(path)
        self._channel.send({"whole": True})

    def _get(self, message: dict[str, Any]) -> None:
        try:
            data = self._path(message["name"]).read_bytes()
        except FileNotFoundError:
            raise Refused("missing", f"there is no {message['name']}") from None
        self._channel.send({"bytes": len(data)}, data)

    def _run(self, message: dict[str, Any]) -> None:
        """Run a program in the folder, and tell each line that it prints."""
        argv = [sys.executable if word == PYTHON else word for word in message["argv"][:1]] + message["argv"][1:]
        temporary = self._folder / TEMPORARY
        temporary.mkdir(exist_ok=True)
        # Buffered lines would come late; and what a program keeps for later shall lie where it is removed: ONNX Runtime
        # writes a data base of its own into the user's cache.
        own = {"TMPDIR": str(temporary), "XDG_CACHE_HOME": str(temporary / "cache")}
        environment = {**os.environ, **own, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            child = subprocess.Popen(
                argv,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise Refused("missing", f"{error.filename}: not found") from None
        try:
            self._janitor.watch(child.pid)
            self._forward(child)
            self._channel.send({"exit": child.wait()})
        finally:
            if child.poll() is None:
                stop(child.pid, child.poll)
                child.wait()
            signal_group(child.pid, signal.SIGKILL)
            self._janitor.watch(0)

    def _forward(self, child: "subprocess.Popen[bytes]") -> None:
        """Send what the child prints, until both its streams have ended; the host may ask it to stop meanwhile."""
        assert child.stdout
        assert child.stderr
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ, "out")
            selector.register(child.stderr, selectors.EVENT_READ, "err")
            selector.register(self._channel.source, selectors.EVENT_READ, "host")
            rest, heard_s = {"out": b"", "err": b""}, time.monotonic()
            while len(selector.get_map()) > 1:
                # The child may well be silent for long, and the host never is.
                if time.monotonic() - heard_s > SILENCE_S:
                    raise Lost
                # Asked before: of what it wrote until its end nothing is missed.
                ended, spoke = child.poll() is not None, False
                for key, _ in selector.select(SILENCE_S):
                    if key.data == "host":
                        self._hear(child.pid)
                        heard_s = time.monotonic()
                        continue
                    spoke = True
                    stream: IO[bytes] = child.stdout if key.data == "out" else child.stderr
                    data = os.read(stream.fileno(), BLOCK_BYTES)
                    *lines, rest[key.data] = _lines(rest[key.data] + data)
                    if not data:
                        selector.unregister(stream)
                    for line in lines:
                        self._channel.send({key.data: line.decode(errors="replace")})
                # What it has left behind may hold its streams open.
                if ended and not spoke:
                    break
        for name, line in rest.items():
            if line:
                self._channel.send({name: line.decode(errors="replace")})

    def _hear(self, group: int) -> None:
        """Take what the host says while a program runs: that it shall end, or nothing but that it is there."""
        self._channel.fill()
        for message in self._channel.arrived():
            if message["do"] not in STOPS:
                # The host has given the program up, and goes on.
                self._channel.put_back(message)
            signal_group(group, STOPS.get(message["do"], signal.SIGKILL))

    def _path(self, name: str) -> Path:
        path = self._folder / name
        if self._folder.resolve() not in path.resolve().parents:
            raise Refused("outside", f"{name} is outside the session's folder")
        return path


def _lines(data: bytes) -> list[bytes]:
    """Return the lines, the last of which goes on; one that is too long for this board's memory comes in pieces."""
    lines = data.split(b"\n")
    if len(lines[-1]) >= BLOCK_BYTES:
        lines.append(b"")
    return lines


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
