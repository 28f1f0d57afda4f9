"""Artifacts by their names: every pair that something can make, and a reason for the pairs that nothing can."""

import itertools
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
    if (each.precision, each.format) in builders.BUILDERS:
        assert candidate(each.name) == each
        return
    with pytest.raises(UsageError) as caught:
        candidate(each.name)
    assert str(caught.value) == f"{each.name}: {candidates.IMPOSSIBLE[each.name]}"
    # The reason ends with what to take instead, and that can be made.
    instead = caught.value.what.rpartition("; ")[2].split()[0]
    assert instead in {other.name for other in ALL if (other.precision, other.format) in builders.BUILDERS}


def test_what_targets_ask_for_can_be_made() -> None:
    for target in map(targets.load, targets.names()):
        assert [candidate(each.name) for each in target.artifacts] == list(target.artifacts)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("int8.onx", "did you mean 'int8.onnx'?"),
        ("fp32", "did you mean 'fp32.onnx'?"),
        ("", "there are fp32.onnx, fp32.torchscript, fp16.onnx, fp16.torchscript, bf16.torchscript, int8.onnx, "),
    ],
)
def test_a_name_that_is_none_is_told_with_the_nearest(name: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        candidate(name)
    assert str(caught.value).removeprefix(f"{name}: ").startswith(f"there is no such artifact; {hint}")
