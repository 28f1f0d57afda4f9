"""Progress for another program: one JSON object on each line of a stream.

    {"task": "timing", "total": 20, "done": 7, "note": "int8.onnx"}    how far a piece of work is
    {"say": "report: net.report.json"}                                 a line for a person

Work says so when it begins, at most every quarter of a second as it goes on, and when it ends; of tasks within tasks
the innermost speaks. Other lines may stand between: what ends a command is told as ever.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from runner.progress import Advance

PERIOD_S = 0.25


class JsonLines:
    """A Progress on a text stream that a program reads."""

    def __init__(self, stream: TextIO, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Open a piece of work of `total` steps."""
        done, latest = 0, ""
        told_s = self._clock()

        def tell() -> None:
            nonlocal told_s
            told_s = self._clock()
            self._write({"task": title, "total": total, "done": done, "note": latest})

        def advance(steps: int = 1, note: str = "") -> None:
            nonlocal done, latest
            done, latest = done + steps, note or latest
            if self._clock() - told_s >= PERIOD_S:
                tell()

        tell()
        try:
            yield advance
        finally:
            tell()

    def say(self, message: str) -> None:
        """Write one line that is for a person."""
        self._write({"say": message})

    def _write(self, line: Mapping[str, object]) -> None:
        # Letters beyond ASCII are escaped: whatever the stream's encoding, the reader gets them all.
        self._stream.write(f"{json.dumps(line)}\n")
        self._stream.flush()
