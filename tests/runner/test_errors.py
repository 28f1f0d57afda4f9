"""The error tree: one exit code per class, and messages that say what, where and what to do next."""

import pytest

from runner import errors
from runner.errors import EdgepackError, StepError, UsageError, innermost, nearest


def subclasses(parent: type[EdgepackError]) -> dict[str, int]:
    """Return the exit code of each class below `parent`, by name."""
    found: dict[str, int] = {}
    for child in parent.__subclasses__():
        if child.__module__ == errors.__name__:
            found |= {child.__name__: child.exit_code} | subclasses(child)
    return found


def test_each_class_has_the_exit_code_of_the_drawn_tree() -> None:
    assert subclasses(EdgepackError) == {
        "UsageError": 2,
        "DocumentError": 3,
        "BundleError": 3,
        "ReportError": 3,
        "RuntimeUnavailable": 4,
        "MeasurementError": 5,
        "StepError": 6,
    }
    # 0 is success, and a missed limit is no error.
    assert errors.LIMIT_MISSED == 1


def test_the_tree_that_the_module_draws_is_the_one_that_there_is() -> None:
    assert errors.__doc__ is not None
    drawn = [line.split() for line in errors.__doc__.splitlines() if line.startswith(("├", "│", "└"))]
    names = {next(word for word in words if word[0].isalpha()): words for words in drawn}
    tree = subclasses(EdgepackError)
    assert set(names) == set(tree)
    codes = {name: int(words[2]) for name, words in names.items() if len(words) > 3 and words[2].isdigit()}
    assert codes == {name: code for name, code in tree.items() if name not in ("BundleError", "ReportError")}


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UsageError("is none"), "is none"),
        (UsageError("is none", where="--model"), "--model: is none"),
        (UsageError("is none", advice="pack models"), "is none\n  try: pack models"),
        (UsageError("is none", where="--model", advice="pack models"), "--model: is none\n  try: pack models"),
    ],
)
def test_a_message_says_where_what_and_what_to_try(error: UsageError, text: str) -> None:
    assert str(error) == text


def test_the_parts_of_a_message_are_kept_for_those_who_tell_it_otherwise() -> None:
    error = UsageError("is none", where="--model", advice="pack models")
    assert (error.what, error.where, error.advice) == ("is none", "--model", "pack models")


def test_the_nearest_word_is_asked_for() -> None:
    assert nearest("arm-qnpack", ["x86", "arm-qnnpack", "cuda"]) == "did you mean 'arm-qnnpack'?"
    assert nearest("resnet8", iter(("resnet18", "resnet8"))) == "did you mean 'resnet8'?"


def test_nothing_is_asked_where_no_word_is_near() -> None:
    assert nearest("tpu", ["x86", "arm-qnnpack"]) == ""
    assert nearest("x86", []) == ""


def test_the_innermost_of_errors_that_were_raised_from_each_other_is_what_went_wrong() -> None:
    first, second, outer = StepError("no room"), StepError("export: no room"), StepError("int8.onnx: export: no room")
    outer.__cause__, second.__cause__, first.__cause__ = second, first, OSError("full")
    assert innermost(outer, StepError) is first
    assert innermost(first, StepError) is first
    assert str(innermost(outer, BaseException)) == "full"
