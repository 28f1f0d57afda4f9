"""A step that fails is named, with what ran before it; one that ends is written down."""

import re

import pytest

from packager.journal import Journal
from runner.errors import BundleError, MeasurementError, StepError, UsageError
from tests.fakes import RecordingProgress

DEBUG_ADVICE = "EDGEPACK_DEBUG=1 shows where it happened"


@pytest.fixture
def progress(monkeypatch: pytest.MonkeyPatch) -> RecordingProgress:
    """Return what is told, with tracebacks turned off."""
    monkeypatch.delenv("EDGEPACK_DEBUG", raising=False)
    return RecordingProgress()


@pytest.fixture
def journal(progress: RecordingProgress) -> Journal:
    """Return a journal in which two steps are written down."""
    found = Journal(progress)
    with found.step("data") as step:
        step.note = "10 images"
    with found.step("train") as step:
        step.cached = True
    return found


def failing(journal: Journal, error: BaseException) -> pytest.ExceptionInfo[BaseException]:
    """Return what comes out of a step that raises."""
    with pytest.raises(BaseException) as caught, journal.step("prune"):  # noqa: PT011 - each test says which it is
        raise error
    return caught


def test_steps_are_written_down_in_order(journal: Journal) -> None:
    assert [(record.step, record.cached) for record in journal.records] == [("data", False), ("train", True)]
    assert all(record.duration_s >= 0 for record in journal.records)


def test_each_step_is_told_in_a_line_as_it_ends(journal: Journal, progress: RecordingProgress) -> None:
    assert len(journal.records) == 2
    first, second = progress.said
    assert re.fullmatch(r"data {32} {4,}\d+\.\d s  10 images", first)
    assert (len(first), second) == (50 + len("  10 images"), f"{'train':<40} as before")


def test_a_step_that_fails_names_itself_and_what_ran_before_it(journal: Journal) -> None:
    caught = failing(journal, StepError("no weight is left", advice="prune less"))
    assert isinstance(caught.value, StepError)
    assert str(caught.value) == "prune: no weight is left\n  ran before it: data, train\n  try: prune less"
    assert [record.step for record in journal.records] == ["data", "train"]


def test_the_place_that_an_error_names_is_kept(journal: Journal) -> None:
    caught = failing(journal, StepError("cannot be read", where="photos/a.jpg"))
    assert str(caught.value) == "prune: photos/a.jpg: cannot be read\n  ran before it: data, train"


def test_the_first_step_has_nothing_before_it(progress: RecordingProgress) -> None:
    caught = failing(Journal(progress), StepError("no images"))
    assert str(caught.value) == "prune: no images"


@pytest.mark.parametrize("error", [UsageError("no such model"), BundleError("torn"), MeasurementError("worker died")])
def test_an_error_of_another_class_keeps_it(error: Exception, journal: Journal) -> None:
    assert failing(journal, error).value is error


def test_what_nobody_foresaw_is_told_in_one_line_with_the_way_to_the_traceback(journal: Journal) -> None:
    error = RuntimeError("shapes\n   do not fit")
    caught = failing(journal, error)
    assert isinstance(caught.value, StepError)
    expected = "prune: RuntimeError: shapes do not fit\n  ran before it: data, train"
    assert str(caught.value) == f"{expected}\n  try: {DEBUG_ADVICE}"
    assert caught.value.__cause__ is error
    assert "prune: MemoryError: no message\n" in str(failing(journal, MemoryError()).value)


def test_whoever_debugs_gets_the_error_itself(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPACK_DEBUG", "1")
    error = RuntimeError("shapes do not fit")
    assert failing(journal, error).value is error
    assert isinstance(failing(journal, StepError("known")).value, StepError)


def test_an_interruption_is_none_of_its_business(journal: Journal) -> None:
    error = KeyboardInterrupt()
    assert failing(journal, error).value is error
    assert [record.step for record in journal.records] == ["data", "train"]
