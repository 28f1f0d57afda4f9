"""Artifacts by their names: every pair that something can make, and a reason for the pairs that nothing can."""

import itertools
from dataclasses import replace
from typing import get_args

import pytest

import targets
from packager import builders, candidates
from packager.candidates import candidate
from runner.errors import UsageError
from runner.manifest import Candidate, Format, Precision

ALL = tuple(
    Candidate(precision=precision, format=form)
    for precision, form in itertools.product(get_args(Precision), get_args(Format))
)


@pytest.mark.parametrize("each", ALL, ids=lambda each: each.name)
def test_a_name_leads_to_its_candidate_or_to_the_reason_why_there_is_none(each: Candidate) -> None:
    if each in builders.BUILDERS:
        assert candidate(each.name) == each
        return
    with pytest.raises(UsageError) as caught:
        candidate(each.name)
    reason = candidates.IMPOSSIBLE.get(each.name, "nothing makes it; ")
    assert str(caught.value).startswith(f"{each.name}: {reason}")
    # The reason ends with what to take instead, and that can be made.
    instead = caught.value.what.rpartition("; ")[2].split()[0]
    assert instead in candidates.NAMES


def test_what_targets_ask_for_can_be_made() -> None:
    for target in map(targets.load, targets.names()):
        asked = [*target.artifacts, *target.more]
        assert [candidate(each.name) for each in asked] == asked


def test_the_words_quick_and_all_stand_for_what_a_target_makes() -> None:
    target = replace(targets.load("x86"), more=(candidate("fp16.onnx"), candidate("int8.onnx")))
    assert candidates.wanted((), target) == candidates.wanted(("quick",), target) == target.artifacts
    assert candidates.wanted(("all",), target) == (*target.artifacts, candidate("fp16.onnx"))
    assert candidates.wanted(("bf16.torchscript", "quick"), target) == (
        candidate("bf16.torchscript"),
        *target.artifacts,
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("int8.onx", "did you mean 'int8.onnx'?"),
        ("fp32", "did you mean 'fp32.onnx'?"),
        (
            "",
            "there are fp32.onnx, fp16.onnx, int8.onnx, int8-qoperator.onnx, int8-mixed.onnx, "
            "int8-optimised.onnx, int8-weights.onnx, ",
        ),
    ],
)
def test_a_name_that_is_none_is_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        candidate(name)
    assert str(caught.value).removeprefix(f"{name}: ").startswith(f"there is no such artifact; {hint}")
