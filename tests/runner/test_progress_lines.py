"""Progress as another program reads it: whole JSON objects, flushed, and few."""

import io
import json
import os
from pathlib import Path

import pytest

from runner.progress_lines import JsonLines


class Slow:
    """A clock that stands still until it is told."""

    now_s = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_work_tells_of_its_beginning_its_way_and_its_end() -> None:
    stream, clock = io.StringIO(), Slow()
    with JsonLines(stream, clock=clock).task("timing", 3) as advance:
        clock.now_s = 0.3
        advance(1, "int8.onnx")
        advance()
        clock.now_s = 0.4
        advance()
    assert lines(stream) == [
        {"task": "timing", "total": 3, "done": 0, "note": ""},
        {"task": "timing", "total": 3, "done": 1, "note": "int8.onnx"},
        {"task": "timing", "total": 3, "done": 3, "note": "int8.onnx"},
    ]


def test_a_thousand_steps_a_second_are_four_lines_a_second() -> None:
    stream, clock = io.StringIO(), Slow()
    with JsonLines(stream, clock=clock).task("answers", 2_000) as advance:
        for step in range(1, 2_001):
            clock.now_s = step / 1_024
            advance()
    done = [line["done"] for line in lines(stream)]
    assert done == [0, 256, 512, 768, 1_024, 1_280, 1_536, 1_792, 2_000]


def test_work_that_fails_tells_how_far_it_came() -> None:
    stream = io.StringIO()

    def fail() -> None:
        with JsonLines(stream, clock=Slow()).task("answers", 5) as advance:
            advance(2)
            raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        fail()
    assert lines(stream)[-1] == {"task": "answers", "total": 5, "done": 2, "note": ""}


def test_of_tasks_within_tasks_each_has_its_own_lines() -> None:
    stream, clock = io.StringIO(), Slow()
    progress = JsonLines(stream, clock=clock)
    with progress.task("outer", 1) as outer:
        with progress.task("inner", 1) as inner:
            inner()
        outer()
    told = [(line["task"], line["done"]) for line in lines(stream)]
    assert told == [("outer", 0), ("inner", 0), ("inner", 1), ("outer", 1)]


def test_a_line_for_a_person_stays_one_line_in_whatever_encoding(tmp_path: Path) -> None:
    file = tmp_path / "stderr"
    with file.open("w", encoding="ascii") as stream:
        JsonLines(stream).say("12 µs,\nand 3 °C more")
        assert file.read_bytes() == b'{"say": "12 \\u00b5s,\\nand 3 \\u00b0C more"}\n'


def test_each_line_is_there_as_soon_as_it_is_told() -> None:
    read_end, write_end = os.pipe()
    with (
        os.fdopen(write_end, "w") as stream,
        os.fdopen(read_end, "rb") as reader,
        JsonLines(stream).task("timing", 1),
    ):
        assert json.loads(reader.readline())["done"] == 0
