"""The noise floor of a device: where it is remembered, for which device, and what is made of a file of no use."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner import codec, noise
from runner.compare import compare
from runner.compare.comparison import Limits
from runner.errors import EdgepackError
from runner.facts import DeviceFacts
from runner.measure import Bench, run
from runner.noise import NoiseFloor
from runner.report import Report, Settings
from tests import reports
from tests.runner.measure.scripted import FP32, bundle, workers

FACTS = reports.device()
FOUND = NoiseFloor(device="Example CPU", floor=0.045, pairs=10, threads=2, created="2026-11-01T12:00:00+00:00")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the user's state folder where nobody else's is."""
    found = tmp_path / "state"
    monkeypatch.setenv("XDG_STATE_HOME", str(found))
    return found


def test_what_was_stored_is_loaded_again(state: Path) -> None:
    assert noise.load(FACTS, 2) is None
    assert noise.store(FACTS, FOUND) is FOUND
    path = noise.path(FACTS, 2)
    assert path.parent == state / "edgepack"
    assert path.name.startswith("noise-floor-")
    assert codec.read_json(NoiseFloor, path.read_text(encoding="utf-8")) == FOUND
    assert noise.load(FACTS, 2) == 0.045
    assert [each.name for each in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("floor", "pairs", "kept"),
    [
        (0.06, 10, 0.06),
        (0.06, 30, 0.06),
        (0.02, 10, 0.045),
        (0.02, 19, 0.045),
        (0.02, 20, 0.045),
        (0.02, 21, 0.02),
        (0.045, 10, 0.045),
    ],
)
def test_a_later_floor_is_kept_where_it_is_larger_or_of_more_pairs(floor: float, pairs: int, kept: float) -> None:
    noise.store(FACTS, replace(FOUND, pairs=20))
    later = replace(FOUND, floor=floor, pairs=pairs, created="2026-11-02T12:00:00+00:00")
    assert noise.store(FACTS, later).floor == kept
    assert noise.load(FACTS, 2) == kept


def test_other_threads_have_a_floor_of_their_own() -> None:
    noise.store(FACTS, FOUND)
    assert noise.load(FACTS, 1) is None
    noise.store(FACTS, replace(FOUND, threads=1, floor=0.01))
    assert (noise.load(FACTS, 1), noise.load(FACTS, 2)) == (0.01, 0.045)


@pytest.mark.parametrize(
    "other",
    [
        replace(FACTS, cpu="Another CPU"),
        replace(FACTS, cpus=4),
        replace(FACTS, board="Raspberry Pi 5 Model B"),
        replace(FACTS, machine="aarch64"),
        replace(FACTS, virtual="virtual machine (KVM)"),
        replace(FACTS, cuda=("NVIDIA Example",)),
        replace(FACTS, governor="powersave"),
    ],
)
def test_another_device_has_a_floor_of_its_own(other: DeviceFacts) -> None:
    noise.store(FACTS, FOUND)
    assert noise.load(other, 2) is None
    noise.store(other, replace(FOUND, floor=0.01))
    assert (noise.load(FACTS, 2), noise.load(other, 2)) == (0.045, 0.01)


def test_what_changes_from_day_to_day_is_no_other_device() -> None:
    noise.store(FACTS, FOUND)
    later = replace(FACTS, system="Linux 6.2", python="3.12.1", environment={"OMP_NUM_THREADS": "1"})
    assert noise.load(later, 2) == 0.045


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        '{"schema": "1.0"}',
        codec.write_json(replace(FOUND, schema="2.0")),
        codec.write_json(FOUND).replace("0.045", '"much"'),
        codec.write_json(FOUND).replace("0.045", "NaN"),
        codec.write_json(replace(FOUND, floor=-0.5)),
    ],
)
def test_a_file_of_no_use_is_as_if_it_was_never_measured(text: str) -> None:
    noise.store(FACTS, FOUND)
    noise.path(FACTS, 2).write_text(text, encoding="utf-8")
    assert noise.load(FACTS, 2) is None


def test_a_file_that_cannot_be_read_is_as_if_it_was_never_measured() -> None:
    noise.store(FACTS, FOUND)
    path = noise.path(FACTS, 2)
    path.unlink()
    path.mkdir()
    assert noise.load(FACTS, 2) is None


@pytest.mark.parametrize(
    ("set_up", "where"),
    [
        (lambda state: state.write_text("a file, where a folder should be"), "state/edgepack"),
        (lambda state: (state / "edgepack").parent.mkdir() or (state / "edgepack").touch(), "state/edgepack"),
    ],
)
def test_a_folder_that_cannot_be_made_is_told(
    state: Path, tmp_path: Path, set_up: Callable[[Path], object], where: str
) -> None:
    set_up(state)
    with pytest.raises(EdgepackError) as caught:
        noise.store(FACTS, FOUND)
    assert str(caught.value).startswith(f"{tmp_path / where}: cannot be written: ")
    assert caught.value.advice == "XDG_STATE_HOME=… with a folder that you may write in"
    assert noise.load(FACTS, 2) is None


@pytest.mark.parametrize("value", ["", "relative/state"])
def test_without_a_state_folder_of_the_users_choice_it_is_the_one_at_home(value: str) -> None:
    # A path that is not absolute is to be ignored, says the specification.
    assert noise.folder({"XDG_STATE_HOME": value}) == Path.home() / ".local/state/edgepack"


def test_a_user_without_a_home_has_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 4_242_424)
    assert noise.load(FACTS, 2) is None
    with pytest.raises(EdgepackError, match="this user has no home folder"):
        noise.store(FACTS, FOUND)


def test_the_next_report_has_the_floor_and_compare_goes_by_it(tmp_path: Path) -> None:
    source = bundle(tmp_path / "net.edgepack", FP32)

    def measured(median_ns: int) -> Report:
        quiet = Bench(
            workers=workers({"fp32.onnx": (median_ns,)}), facts=lambda: FACTS, state=reports.state, meters=lambda: ()
        )
        return run(source, Settings(threads=2), bench=quiet)

    before = measured(1_000_000)
    noise.store(FACTS, FOUND)
    first, second, slow = measured(1_000_000), measured(1_040_000), measured(1_060_000)
    assert (before.noise_floor, first.noise_floor) == (None, 0.045)
    found = compare(first, second, Limits())
    assert (found.margin, found.host.noise_floor, found.host.floor_measured) == (0.045, 0.045, True)
    assert found.artifacts[0].word == "inconclusive"
    assert found.artifacts[0].unsettled[0].detail == (
        "a difference of latency may hide in the noise floor of 4.5 %, which is above the margin of 2 %"
    )
    assert compare(first, slow, Limits()).artifacts[0].word == "slower"
    # Never measured, it is taken to be 3 % where the clock is fixed; the larger floor of the two counts.
    assert compare(before, before, Limits()).margin == 0.03
    assert compare(before, second, Limits()).margin == 0.045
