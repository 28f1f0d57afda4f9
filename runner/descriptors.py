"""Silence for what C++ writes behind Python's back: descriptors that lead nowhere for a while."""

import contextlib
import os
import threading
from collections.abc import Iterator

STDOUT, STDERR = 1, 2
_ONE_AT_A_TIME = threading.RLock()
"""Two threads that turned them off at once might never turn them on again."""


@contextlib.contextmanager
def nowhere(*descriptors: int) -> Iterator[None]:
    """Keep from the terminal all that is written to these descriptors, by whatever thread of the process."""
    with _ONE_AT_A_TIME, contextlib.ExitStack() as stack:
        null = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, null)
        for descriptor in descriptors:
            kept = os.dup(descriptor)
            stack.callback(os.close, kept)
            os.dup2(null, descriptor)
            stack.callback(os.dup2, kept, descriptor)
        yield
