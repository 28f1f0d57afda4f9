"""The line to a board: ssh with the agent at its other end, and messages both ways."""

import contextlib
import os
import queue
import select
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from packager.remote import failures, ssh
from packager.remote.destination import Destination
from packager.remote.messages import Message
from runner import codec
from runner.errors import EdgepackError, RuntimeUnavailable

BEAT_S = 5.0
LOOK_S = 0.2
"""How often somebody who waits may look at something else."""
HANG_UP_S = 2.0
WORDS = 20
"""How many of the last lines of ssh are kept."""
MOST_LINE_BYTES = 1 << 20
"""A longer line comes in pieces; the agent's own are far below."""
MOST_PAYLOAD_BYTES = 1 << 30
"""More than any report or probe has: nothing that a board says may fill this host's memory."""
MOST_WAITING = 256
"""Messages that nobody has taken yet, until the board has to wait."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """How long a board is waited for, in seconds."""

    connect_s: float = 20.0
    hello_s: float = 90.0
    """For the first word: a slow board may need it to start Python."""
    silence_s: float = 60.0
    """Between two signs of life."""
    stop_s: float = 30.0
    """For a program that was asked to end."""
    lease_s: float = 120.0
    """After a cut, until the board removes what was brought there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A message, and the raw bytes behind it."""

    message: Message
    payload: bytes


@dataclass(kw_only=True)
class Line:
    """A running ssh. Its end, for whatever reason, is met as Lost or Refusal by whoever sends or waits next."""

    destination: Destination
    process: "subprocess.Popen[bytes]"
    silence_s: float
    """For how long the board may take nothing of what is sent."""
    greeted: bool = False
    """The agent has answered: what ends the line from now on is no matter of keys and addresses."""
    _inbox: "queue.Queue[Received | None]" = field(default_factory=lambda: queue.Queue(MOST_WAITING))
    """None is the end of the line."""
    _said: deque[str] = field(default_factory=lambda: deque(maxlen=WORDS))
    _greeting: deque[str] = field(default_factory=lambda: deque(maxlen=WORDS))
    """What came before the agent: all there is to go by where an account has no shell."""
    _sending: threading.Lock = field(default_factory=threading.Lock)
    _threads: list[threading.Thread] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _heard_s: float = field(default_factory=time.monotonic)

    @classmethod
    def open(cls, destination: Destination, patience: Patience) -> "Line":
        """Start ssh, and give it the agent. Raises EdgepackError."""
        try:
            process = subprocess.Popen(
                ssh.command(destination, patience.connect_s),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for this program, which then ends things on the board in order
            )
        except FileNotFoundError:
            raise RuntimeUnavailable("there is no ssh here", advice="sudo apt install openssh-client") from None
        except OSError as error:
            raise RuntimeUnavailable(f"ssh cannot be started: {error.strerror}", where=destination.name) from None
        assert process.stdin
        os.set_blocking(process.stdin.fileno(), False)
        line = cls(destination=destination, process=process, silence_s=patience.silence_s)
        line.start(line.hear_ssh)
        line.start(line.listen)
        return line

    def send(self, message: Mapping[str, object], payload: bytes = b"") -> None:
        """Send a message. Raises EdgepackError."""
        self.send_bytes(codec.write_json(message).encode() + payload)

    def send_bytes(self, data: bytes) -> None:
        """Send raw bytes. Raises EdgepackError."""
        left, taken_s = memoryview(data), time.monotonic()
        with self._sending:
            while left:
                written = self._write(left)
                left = left[written:]
                taken_s = time.monotonic() if written else taken_s
                if time.monotonic() - taken_s > self.silence_s:
                    raise self._silent(self.silence_s)

    def arrived(self, silence_s: float) -> Received | None:
        """Return what the board says, or None after a moment.

        Raises EdgepackError: for what the board refused, where the line has ended, and where it was silent for longer
        than `silence_s`.
        """
        try:
            found = self._inbox.get(timeout=LOOK_S)
        except queue.Empty:
            if time.monotonic() - self._heard_s < silence_s:
                return None
            raise self._silent(silence_s) from None
        if found is None:
            self._inbox.put(None)  # for whoever asks again
            raise self._gone()
        self._heard_s = time.monotonic()
        refused = found.message.refused
        if refused:
            raise failures.refused(refused.code, refused.what, self.destination.name)
        return found

    def hang_up(self) -> None:
        """End ssh, whatever it is at."""
        self._over.set()
        with self._sending, contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()
        try:
            self.process.wait(timeout=HANG_UP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for thread in self._threads:
            thread.join(timeout=HANG_UP_S)

    def start(self, work: Callable[[], None]) -> None:
        """Let a part of this run beside the others."""
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        self._threads.append(thread)

    def hear_ssh(self) -> None:
        """Keep what ssh says, and the agent where it fails."""
        assert self.process.stderr
        # Closed here and by nobody else: a connection that ssh shares and keeps may hold it open for long.
        with self.process.stderr as stream:
            while line := stream.readline(MOST_LINE_BYTES):
                if text := line.decode(errors="replace").strip():
                    self._said.append(text)

    def listen(self) -> None:
        """Put what the board says where `arrived` finds it, until the line ends."""
        assert self.process.stdout
        with contextlib.suppress(OSError, ValueError), self.process.stdout as stream:
            while line := stream.readline(MOST_LINE_BYTES):
                # A login may greet: what is not ours is passed over.
                message = _message(line)
                if message is None:
                    self._greeting.append(line.decode(errors="replace").strip())
                    continue
                size_bytes = message.bytes or 0
                if not 0 <= size_bytes <= MOST_PAYLOAD_BYTES:
                    self._said.append(f"the board wants to send {size_bytes} bytes at once")
                    break
                self._put(Received(message=message, payload=stream.read(size_bytes)))
        self._put(None)

    def beat(self) -> None:
        """Tell the agent now and then that the host is there: without, it takes itself for cut off."""
        with contextlib.suppress(EdgepackError):
            while not self._over.wait(BEAT_S):
                self.send({"do": "beat"})

    def _put(self, found: Received | None) -> None:
        """Give something to whoever asks next; where nobody does any more, it is let go."""
        while not self._over.is_set():
            with contextlib.suppress(queue.Full):
                self._inbox.put(found, timeout=LOOK_S)
                return

    def _write(self, data: memoryview) -> int:
        """Write what is taken within a moment, and return how much that is. Raises EdgepackError."""
        if self._over.is_set():
            raise self._gone()
        assert self.process.stdin
        try:
            handle = self.process.stdin.fileno()
            poll = select.poll()
            poll.register(handle, select.POLLOUT)
            return os.write(handle, data) if poll.poll(LOOK_S * 1000) else 0
        except BlockingIOError:
            return 0
        except (OSError, ValueError):
            raise self._gone() from None

    def _silent(self, silence_s: float) -> EdgepackError:
        what = f"silent for {silence_s:g} s"
        return failures.Lost(what, where=self.destination.name, advice="see what else it is doing")

    def _gone(self) -> EdgepackError:
        """Return why the line has ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=HANG_UP_S)
        self._threads[0].join(timeout=HANG_UP_S)  # for the last that ssh has said
        name = self.destination.name
        if self.greeted:
            last = self._said[-1] if self._said else "the connection ended"
            return failures.Lost(f"lost: {last}", where=name, advice="see that it is on, and not short of memory")
        return failures.of_ssh("\n".join(self._said or self._greeting), ssh.by_hand(self.destination), name)


def _message(line: bytes) -> Message | None:
    """Return what a line of the agent says; None where it is another line."""
    if not line.startswith(b"{"):
        return None
    try:
        return codec.read_json(Message, line)
    except codec.InvalidDocumentError:
        return None
