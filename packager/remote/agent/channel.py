"""The line to the host: messages, payloads, and that it is gone."""

import errno
import json
import os
import select
import threading
from collections.abc import Iterator
from typing import Any

SILENCE_S = 30.0
"""After how long without a word from the host, which sends one every few seconds, it is taken for gone.

As soon as ssh itself takes the board for gone: the host's next attempt must not find this one still there.
"""
BLOCK_BYTES = 1 << 16


class Lost(Exception):  # noqa: N818 - a state of the line
    """The host is gone."""


class Refused(Exception):  # noqa: N818 - an answer
    """Something that was asked for cannot be; the host is told."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code


class Channel:
    """The line to the host."""

    def __init__(self, source: int, sink: int) -> None:
        self.source = source
        self._sink = sink
        os.set_blocking(sink, False)
        self._read = b""
        self._back: list[dict[str, Any]] = []
        self._sending = threading.Lock()

    def receive(self) -> dict[str, Any]:
        """Return the host's next message that is more than a sign of life. Raises Lost."""
        while True:
            for message in self.arrived():
                return message
            self.fill()

    def arrived(self) -> Iterator[dict[str, Any]]:
        """Yield the messages that are here already, but for signs of life."""
        back, self._back = self._back, []
        yield from back
        while b"\n" in self._read:
            line, _, self._read = self._read.partition(b"\n")
            message: dict[str, Any] = json.loads(line)
            if message["do"] != "beat":
                yield message

    def put_back(self, message: dict[str, Any]) -> None:
        """Leave a message for whoever receives next."""
        self._back.append(message)

    def payload(self, size_bytes: int) -> bytes:
        """Return the raw bytes behind a message. Raises Lost."""
        while len(self._read) < size_bytes:
            self.fill()
        found, self._read = self._read[:size_bytes], self._read[size_bytes:]
        return found

    def send(self, message: dict[str, Any], payload: bytes = b"") -> None:
        """Send a message, whole even where several threads do. Raises Lost."""
        data = memoryview(json.dumps(message).encode() + b"\n" + payload)
        with self._sending:
            while data:
                data = data[self._write(data[:BLOCK_BYTES]) :]

    def _write(self, data: memoryview) -> int:
        try:
            if not select.select([], [self._sink], [], SILENCE_S)[1]:
                raise Lost
            return os.write(self._sink, data)
        except BlockingIOError:
            return 0
        except OSError:
            raise Lost from None

    def fill(self) -> None:
        """Wait for more, a while."""
        try:
            ready, _, _ = select.select([self.source], [], [], SILENCE_S)
            found = os.read(self.source, BLOCK_BYTES) if ready else b""
        except OSError:
            found = b""
        if not found:
            raise Lost
        self._read += found


def refusal(error: OSError) -> dict[str, Any]:
    """Return what the host is told of something that the system did not allow."""
    code = "no-space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "system"
    place = f"{error.filename}: " if error.filename else ""
    return {"refused": {"code": code, "what": f"{place}{error.strerror or error}"}}
