"""Silence for the libraries that make artifacts: their warnings are about parts that the user did not choose."""

import contextlib
import io
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings, logs and prints of libraries from the user. What they raise passes."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    nowhere = io.StringIO()
    try:
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


_DESCRIPTORS = threading.RLock()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep from the user what code in C++ writes behind Python's back too, and meanwhile all else on both streams."""
    with _DESCRIPTORS, contextlib.ExitStack() as stack:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream, descriptor in ((sys.__stdout__, 1), (sys.__stderr__, 2)):
            if stream is not None and not stream.closed:
                stream.flush()
            kept = os.dup(descriptor)
            stack.callback(os.close, kept)
            os.dup2(nowhere, descriptor)
            stack.callback(os.dup2, kept, descriptor)
        with quiet():
            yield
