"""The boards that all tests of this folder share. Where there can be none, each test is skipped with the reason."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.device import host, machines, packages, story
from tests.device.cores import PI4, PI5
from tests.device.machines import Board

REQUIRED = "EDGEPACK_REQUIRE_DEVICE"
"""Set to 1 where a missing board is a failure, as in CI."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark all that stands in this folder, so that nothing here is run by `make test`."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.device)


@pytest.fixture(scope="session")
def aarch64() -> None:
    """Make sure that this machine can hold boards, and has what they need."""
    with _or_refused():
        machines.prepare()


@pytest.fixture(scope="session")
def python39(aarch64: None) -> None:
    """Make sure that there is an old Python for `faults.old_python`."""
    with _or_refused():
        packages.old_python()


@pytest.fixture(scope="session")
def switched_on(aarch64: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Board, Board]]:
    """The two boards that all tests share."""
    with machines.boards(tmp_path_factory.mktemp("boards"), pi5=PI5, pi4=PI4) as (pi5, pi4):
        yield pi5, pi4


@pytest.fixture(scope="module")
def both(switched_on: tuple[Board, Board]) -> Iterator[tuple[Board, Board]]:
    """Two boards that are on: one with the dot product, one without. Each file of tests finds their homes empty."""
    yield switched_on
    for board in switched_on:
        board.sweep()


@pytest.fixture
def pi5(both: tuple[Board, Board]) -> Board:
    """The board with the dot product."""
    return both[0]


@pytest.fixture
def pi4(both: tuple[Board, Board]) -> Board:
    """The board without the dot product."""
    return both[1]


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for ARM boards, as `pack` makes it from a small network and the images that come with edgepack."""
    folder = tmp_path_factory.mktemp("packed")
    told = story.command(
        "pack", "--target", "arm-qnnpack", "--model", "small_cnn", "--epochs", 2, "-o", folder, "--no-cache"
    )
    assert told.code == 0, told.err
    (bundle,) = told.out.split()
    return Path(bundle)


@contextmanager
def _or_refused() -> Iterator[None]:
    try:
        yield
    except host.UnavailableError as error:
        refuse = pytest.fail if os.environ.get(REQUIRED) == "1" else pytest.skip
        refuse(f"no aarch64 board: {error}")
