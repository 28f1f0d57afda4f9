"""Which Python a peer gets."""

import sys
from pathlib import Path

import pytest

from benchmarks.peers.contenders import PEERS
from benchmarks.peers.environments import NAMES, REQUIREMENTS, Environments, given
from runner.errors import UsageError


def test_a_named_python_goes_before_that_for_all_and_edgepack_has_its_own(tmp_path: Path) -> None:
    found = Environments(folder=tmp_path, given={"all": "/one", "openvino": "/other"})
    assert [found.python(name) for name in ("torch", "openvino", "edgepack")] == ["/one", "/other", sys.executable]


def test_a_word_without_a_name_is_for_all(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.touch()
    assert given([str(python), f"torch={python}"]) == {"all": str(python), "torch": str(python)}


def test_an_environment_that_there_is_not_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        given([f"torsh={tmp_path}"])
    assert (caught.value.what, caught.value.advice) == ("there is no environment 'torsh'", "did you mean 'torch'?")


def test_a_python_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="there is no such Python"):
        given(["torch=/nowhere/python"])


def test_every_environment_has_its_pinned_requirements() -> None:
    assert {f"{name}.txt" for name in NAMES} == {path.name for path in REQUIREMENTS.glob("*.txt")}
    lines = [line for name in NAMES for line in (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").split()]
    assert all("==" in line for line in lines)
    assert {each.environment for each in PEERS} == set(NAMES)
