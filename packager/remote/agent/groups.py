"""Process groups, and how they are ended."""

import os
import signal
import time
from collections.abc import Callable

END_S = 10.0
"""How long a program has to end in order before it is killed."""


def stop(group: int, reap: Callable[[], object] = lambda: None) -> None:
    """End a process group in order, and if it does not, kill it.

    Its parent has to `reap` what has ended: until then it counts as a member.
    """
    for number, wait_s in ((signal.SIGTERM, END_S), (signal.SIGKILL, 0.0)):
        if group and not signal_group(group, number):
            return
        ends = time.monotonic() + wait_s
        while group and time.monotonic() < ends and signal_group(group, 0):
            time.sleep(0.05)
            reap()


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group, and return whether there is one."""
    try:
        os.killpg(group, number)
    except OSError:
        return False
    return True
