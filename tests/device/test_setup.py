"""A fresh aarch64 board is looked at, prepared with wheels from this host, and looked at again."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from packager.remote import doctor, link, setup
from packager.remote.destination import Destination, Host
from packager.remote.doctor import Diagnosis
from packager.remote.setup import Prepared
from runner.progress import Silent
from tests.device import cache, faults
from tests.device.machines import Board


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What came of it."""

    before: Diagnosis
    prepared: Prepared
    again: Prepared
    after: Diagnosis
    left: tuple[str, ...]
    """In the folder where edgepack may keep things."""
    running: tuple[tuple[str, ...], ...]


def destination(board: Board) -> Destination:
    return Destination(name=board.name, host=Host(address=board.name), ssh_config=board.config)


def prepare(board: Board) -> Prepared:
    with link.connect(destination(board)) as session:
        return setup.prepare(session, ["onnx"], Silent(), offline=True, store=cache.folder() / "wheels")


@pytest.fixture(scope="module")
def told(both: tuple[Board, Board]) -> Iterator[Told]:
    """Prepare the board without the dot product, once."""
    _, board = both
    board.has()
    yield Told(
        before=doctor.diagnose(destination(board)),
        prepared=prepare(board),
        again=prepare(board),
        after=doctor.diagnose(destination(board)),
        left=tuple(path.name for path in (board.home / ".cache/edgepack").iterdir()),
        running=board.running(),
    )
    shutil.rmtree(board.home / ".cache")


def test_a_fresh_board_is_told_what_it_lacks_and_what_int8_brings(told: Told) -> None:
    (lack,) = told.before.missing
    assert lack.what == "numpy and onnxruntime are not installed there"
    assert "pack bench BUNDLE --on pi4 --setup" in lack.advice
    assert "/usr/bin/python3 -m venv" in lack.advice
    assert told.before.device
    assert (told.before.device.facts.cpu, told.before.device.facts.machine) == ("Cortex-A72", "aarch64")
    assert told.before.device.facts.emulated
    assert [each.kernel for each in told.before.int8] == [
        "none (NEON without dot product: int8 may gain nothing)",
        "QNNPACK on NEON, without dot product",
    ]


def test_wheels_from_here_make_it_an_environment_that_works(told: Told) -> None:
    assert told.prepared.changed
    assert told.prepared.python == "/home/pi/.cache/edgepack/venv-3.11/bin/python"
    assert {"numpy", "onnxruntime", "psutil"} <= set(told.prepared.packages)
    assert told.after.missing == ()
    assert told.after.board
    assert told.after.board.executable == told.prepared.python


def test_what_is_there_is_not_made_again(told: Told) -> None:
    assert not told.again.changed
    assert told.again.python == told.prepared.python


def test_nothing_else_is_left_there(told: Told) -> None:
    assert told.left == ("venv-3.11",)
    assert told.running == ()


def test_a_board_with_an_old_python_is_told_what_to_do(pi4: Board, python39: None) -> None:
    with faults.old_python(pi4):
        found = doctor.diagnose(destination(pi4))
    (lack,) = found.missing
    assert lack.what.startswith("its Python is 3.9.2, and Python 3.11 or newer is needed (aarch64, 64 bits)")
    assert lack.advice.startswith("a newer system (Raspberry Pi OS 12, Debian 12, Ubuntu 24.04)")
    assert found.no_python
    assert found.no_python.bits == "64"
    assert found.target == "arm-qnnpack"
    assert "int8-no-dot-product" in [reason.code for reason in found.int8[0].reasons]
    assert pi4.running() == ()
