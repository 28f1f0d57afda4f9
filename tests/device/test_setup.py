"""A fresh aarch64 board is looked at, prepared with wheels from this host, measured with, and looked at again."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from packager.remote import doctor, link, setup
from packager.remote.destination import Destination, Host
from packager.remote.doctor import Diagnosis
from packager.remote.setup import Prepared
from runner.errors import MeasurementError, RuntimeUnavailable
from runner.progress import Silent
from tests.device import faults, story, tiny
from tests.device.machines import Board
from tests.device.story import Told

VENV = ".cache/edgepack/venv-3.11"


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepares:
    """What came of it."""

    before: Diagnosis
    told: Told
    again: Prepared
    after: Told
    left: list[str]


def destination(board: Board) -> Destination:
    return Destination(name=board.name, host=Host(address=board.name), ssh_config=board.config)


def look_at(board: Board, *options: str) -> Told:
    """Have `pack doctor` look at a board."""
    return story.command("pack", "doctor", board.name, "--ssh-config", board.config, *options)


@pytest.fixture(scope="module")
def prepares(both: tuple[Board, Board], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prepares]:
    """Have the board without the dot product prepared by the bundle that is to run there, once."""
    folder = tmp_path_factory.mktemp("prepares")
    bundle = tiny.write(folder)
    _, board = both
    board.has()
    before = doctor.diagnose(destination(board))
    told = story.bench(bundle.path, [board], folder, "--threads", 1, "--setup", "--offline", "--json")
    with link.connect(destination(board)) as session:
        again = setup.prepare(session, ["onnx"], Silent(), offline=True, store=Path("nowhere"))
    after = look_at(board)
    yield Prepares(before=before, told=told, again=again, after=after, left=story.left_behind(board))
    board.sweep()


def test_a_fresh_board_is_told_what_it_lacks_and_what_int8_brings(prepares: Prepares) -> None:
    (lack,) = prepares.before.missing
    assert lack.what == "numpy and onnxruntime are not installed there"
    assert "pack bench BUNDLE --on pi4 --setup" in lack.advice
    assert "/usr/bin/python3 -m venv" in lack.advice
    assert prepares.before.device
    assert (prepares.before.device.facts.cpu, prepares.before.device.facts.machine) == ("Cortex-A72", "aarch64")
    assert prepares.before.device.facts.emulated
    assert [each.kernel for each in prepares.before.int8] == [
        "none (NEON without dot product: int8 may gain nothing)",
        "QNNPACK on NEON, without dot product",
    ]


def test_wheels_from_here_make_it_an_environment_that_the_bundle_runs_with(prepares: Prepares) -> None:
    # Not valid, since the machine is emulated.
    assert prepares.told.code == MeasurementError.exit_code, prepares.told.err
    result = prepares.told.results["pi4"]
    assert (result.failure, result.attempts) == (None, 1)
    assert result.report
    assert result.report.complete
    found = result.report.artifact(tiny.ARTIFACT)
    assert found
    assert found.runtime
    assert found.runtime.name == "onnx"
    tasks = ("wheels for the board", "copying wheels to the board", "installing on the board", "copy")
    said = prepares.told.err.splitlines()
    assert [line for line in said if line.removeprefix("pi4: ") in tasks] == [f"pi4: {task}" for task in tasks]


def test_what_is_there_is_not_made_again(prepares: Prepares) -> None:
    assert not prepares.again.changed
    assert prepares.again.python == f"/home/pi/{VENV}/bin/python"
    assert {"numpy", "onnxruntime", "psutil"} <= set(prepares.again.packages)


def test_afterwards_nothing_is_missing(prepares: Prepares) -> None:
    assert prepares.after.code == 0
    assert "Nothing is missing: a bundle can run there." in prepares.after.out
    assert f"3.11.2, /home/pi/{VENV}/bin/python" in prepares.after.out


def test_the_environment_stays_and_nothing_else(prepares: Prepares) -> None:
    assert f"{VENV}/bin/python" in prepares.left
    above = (".cache", ".cache/edgepack", VENV)
    assert [line for line in prepares.left if line not in above and not line.startswith(f"{VENV}/")] == []


def test_a_board_with_all_it_needs_is_told_what_int8_brings(pi5: Board) -> None:
    pi5.has("numpy", "onnxruntime")
    told = look_at(pi5)
    assert told.code == 0, told.err
    assert told.out.startswith("pi5: Cortex-A76, aarch64, ")
    assert "Instructions for int8 and half precision: asimd, asimdhp, asimddp\n" in told.out
    assert "Nothing is missing: a bundle can run there." in told.out
    (row,) = (line for line in told.out.splitlines() if line.startswith("onnx "))
    assert row.split()[1:5] == ["onnxruntime", "SDOT", "and", "UDOT"]
    assert "int8 may gain nothing" not in told.out
    assert "Pack for it: pack --target arm-qnnpack\n" in told.out
    assert story.left_behind(pi5) == []


def test_a_board_without_runtime_is_told_the_command_and_left_alone(pi5: Board) -> None:
    pi5.has("numpy")
    told = look_at(pi5, "--json")
    assert told.code == RuntimeUnavailable.exit_code
    (lack,) = json.loads(told.out)["missing"]
    assert lack == {
        "what": "onnxruntime is not installed there",
        "advice": "pack bench BUNDLE --on pi5 --setup, which makes an environment of its own; or on the board: "
        "/usr/bin/python3 -m venv ~/.edgepack && ~/.edgepack/bin/pip install numpy onnxruntime, and from then on "
        "~/.edgepack/bin/python",
    }
    assert story.left_behind(pi5) == []


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
