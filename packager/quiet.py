"""Silence for the libraries that make artifacts: their warnings are about parts that the user did not choose."""

import contextlib
import io
import logging
import sys
import warnings
from collections.abc import Iterator

from runner.descriptors import STDERR, STDOUT, nowhere


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the warnings, logs and prints of libraries from the user. What they raise passes."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    unread = io.StringIO()
    try:
        with contextlib.redirect_stdout(unread), contextlib.redirect_stderr(unread), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep from the user what code in C++ writes behind Python's back too, and meanwhile all else on both streams."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None and not stream.closed:
            stream.flush()
    with nowhere(STDOUT, STDERR), quiet():
        yield
