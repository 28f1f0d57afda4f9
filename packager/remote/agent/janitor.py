"""What outlives a session that is cut off, and tidies up after it."""

import os
import signal
import time

from packager.remote.agent.groups import stop
from packager.remote.agent.place import Place

MOST_HANDLES = 1 << 16


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
    # sshd ends a session when nobody holds its pipes any more.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    low, high = sorted((reading, place.lock))
    for first, end in ((3, low), (low + 1, high), (high + 1, min(os.sysconf("SC_OPEN_MAX"), MOST_HANDLES))):
        os.closerange(first, end)
    group, last = 0, ""
    with os.fdopen(reading) as lines:
        for line in lines:
            last = line.strip()
            group = int(last) if last.isdigit() else group
    if last == "done":
        return
    stop(group)
    # Not before: whoever comes back must not measure beside what still runs.
    os.close(place.lock)
    time.sleep(lease_s)
    place.remove_abandoned()
