"""What outlives a session that is cut off, and tidies up after it."""

import contextlib
import os
import signal
import time

from packager.remote.agent.channel import Refused
from packager.remote.agent.groups import stop
from packager.remote.agent.place import Place, locked


class Janitor:
    """A process that outlives this one: it stops what runs and removes the folder when this one is gone.

    It waits a while before it removes, for the host may come back and go on where it was.
    """

    def __init__(self, place: Place, lease_s: float) -> None:
        reading, self._writing = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                _tidy(reading, place, lease_s)
            finally:
                os._exit(0)
        os.close(reading)

    def watch(self, group: int) -> None:
        """Stop this process group too, if it comes to that; 0 for none any more."""
        os.write(self._writing, f"{group}\n".encode())

    def dismiss(self) -> None:
        """Let it go: all is in order."""
        os.write(self._writing, b"done\n")
        os.close(self._writing)
        os.waitpid(self._pid, 0)


def _tidy(reading: int, place: Place, lease_s: float) -> None:
    """Wait for the end of the session, as its janitor."""
    os.setsid()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    # sshd ends a session when nobody holds its pipes any more, and the folder's lock is this session's alone.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.dup2(reading, 3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 1 << 16 else 1 << 16)
    group, last = 0, ""
    with os.fdopen(3) as lines:
        for line in lines:
            last = line.strip()
            group = int(last) if last.isdigit() else group
    if last == "done":
        return
    stop(group)
    time.sleep(lease_s)
    with contextlib.suppress(Refused, OSError), locked(place.folder):
        # Whoever came back in the meantime has written a token of his own, or left on purpose what is there.
        found = Place.read(place.folder)
        if found and found.token == place.token:
            place.remove()
