"""The runner on a board, seen from here: progress, and what it failed with."""

import contextlib
import json
import signal

import pytest

from packager.remote import running
from packager.remote.running import Ended
from runner.errors import BundleError, EdgepackError, MeasurementError, RuntimeUnavailable, UsageError
from tests.fakes import RecordingProgress
from tests.packager.remote.near import Near, connected


def event(task: str, total: int, done: int, note: str = "") -> str:
    return json.dumps({"task": task, "total": total, "done": done, "note": note})


def shown(lines: list[str]) -> RecordingProgress:
    """Return what is shown of the lines that a board's runner writes."""
    progress = RecordingProgress()
    with contextlib.ExitStack() as stack:
        show = running.Shown(progress, stack)
        for line in lines:
            found = running.read(line)
            assert found
            show.show(found)
    return progress


def test_what_a_board_is_at_is_shown_as_tasks() -> None:
    progress = shown(
        [
            event("fp32.onnx: answers", 100, 0),
            event("fp32.onnx: answers", 100, 60),
            event("fp32.onnx: answers", 100, 100),
            json.dumps({"say": "the machine is noisy"}),
            event("timing", 5, 0),
            event("timing", 5, 5),
            json.dumps({"say": "report: tmp/report.json"}),
        ]
    )
    assert progress.tasks == [("fp32.onnx: answers", 100, 100), ("timing", 5, 5)]
    assert progress.said == ["the machine is noisy"]


def test_a_task_of_the_same_name_is_another_where_it_begins_again() -> None:
    progress = shown([event("timing", 5, 0), event("timing", 5, 5), event("timing", 7, 0), event("timing", 7, 2)])
    assert progress.tasks == [("timing", 5, 5), ("timing", 7, 2)]


def test_a_run_tells_its_progress_apart_from_what_it_failed_with(near: Near) -> None:
    lines = ["a warning", event("timing", 4, 3), '{"other": 1}', "error: it is broken", "  try: another"]
    (near.home / "lines").write_text("\n".join(lines), encoding="utf-8")
    progress = RecordingProgress()
    with connected() as board:
        ended = running.run(board, ["sh", "-c", f"cat {near.home}/lines >&2; exit 4"], progress, None)
    assert ended == Ended(exit_code=4, said=("a warning", '{"other": 1}', "error: it is broken", "  try: another"))
    assert progress.tasks == [("start", 0, 0), ("timing", 4, 3)]


def test_of_many_lines_the_last_are_kept(near: Near) -> None:
    with connected() as board:
        ended = running.run(board, ["sh", "-c", "seq 1000 >&2"], RecordingProgress(), None)
    assert ended.said == tuple(str(number) for number in range(961, 1001))


@pytest.mark.parametrize(
    ("code", "kind"),
    [(2, UsageError), (3, BundleError), (4, RuntimeUnavailable), (5, MeasurementError), (1, MeasurementError)],
)
def test_an_error_there_is_one_of_its_class_here(code: int, kind: type[EdgepackError]) -> None:
    said = ("Traceback of something before", "error: net.edgepack: hash differs", "  try: copy it again")
    error = Ended(exit_code=code, said=said).error("pi5")
    assert type(error) is kind
    assert str(error) == "pi5: net.edgepack: hash differs\n  try: copy it again"


def test_an_error_of_several_lines_is_one_and_its_advice_stays_as_it_is() -> None:
    said = (
        "error: numpy is not installed,",
        "which the runner needs",
        "  try: python3 -m venv v",
        "v/bin/pip x",
    )
    error = Ended(exit_code=4, said=said).error("pi5")
    assert error.what == "numpy is not installed, which the runner needs"
    assert error.advice == "python3 -m venv v\nv/bin/pip x"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        (Ended(exit_code=7, said=()), "the run there ended with 7, and said nothing"),
        (Ended(exit_code=127, said=("a", "no such file")), "the run there ended with 127, and said no such file"),
        (
            Ended(exit_code=-9, said=()),
            "the run there was ended by SIGKILL, as Linux does where memory runs out, and said nothing",
        ),
        (Ended(exit_code=-(1 << 40), said=()), f"the run there was ended by signal {1 << 40}, and said nothing"),
        (Ended(exit_code=-11, said=("loading",)), "the run there was ended by SIGSEGV, and said loading"),
    ],
)
def test_an_end_without_an_error_tells_what_there_is(ended: Ended, told: str) -> None:
    error = ended.error("pi5")
    assert type(error) is MeasurementError
    assert str(error) == f"pi5: {told}"


@pytest.mark.parametrize(
    ("code", "said"), [(130, ("interrupted",)), (-signal.SIGINT, ("Traceback:", "KeyboardInterrupt"))]
)
def test_a_run_that_was_asked_to_end_was_interrupted_however_far_it_was(code: int, said: tuple[str, ...]) -> None:
    error = Ended(exit_code=code, said=said).error("pi")
    assert (error.where, error.what, error.exit_code) == ("pi", "interrupted", 130)
