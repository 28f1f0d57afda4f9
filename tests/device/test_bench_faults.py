"""What goes wrong between the host and a board is told with what leads on, stays on that board, and leaves nothing."""

import contextlib
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from packager.remote import fleet, link
from packager.remote.bench import SPARE_BYTES, Order
from packager.remote.destination import Destination, Host
from packager.remote.fleet import FleetOrder
from packager.remote.line import Patience
from packager.remote.link import Listener
from packager.remote.result import BoardResult, Failure, exit_code
from runner import install
from runner.bundle import Bundle
from runner.compare.comparison import Limits, Margins
from runner.errors import BundleError, MeasurementError, RuntimeUnavailable
from tests.device import faults, story, tiny
from tests.device.machines import Board
from tests.device.story import Told
from tests.device.watch import Then, Watch
from tests.device.wheels import Wheels

MIB = 1 << 20
BALLAST = 8 * MIB
SHORT = Patience(lease_s=2)
"""So that a board tidies up soon after a cut."""
ENDS_S = 60.0
CACHE = "/home/pi/.cache"
SESSIONS = f"{CACHE}/edgepack/sessions"


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """What came of several boards, and what was told meanwhile."""

    results: Mapping[str, BoardResult]
    watch: Watch


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that takes a while to be copied."""
    return tiny.write(tmp_path_factory.mktemp("bundle"), ballast_bytes=BALLAST)


@pytest.fixture(autouse=True)
def able(both: tuple[Board, Board]) -> None:
    """Let both boards be able to run it, before each test."""
    for board in both:
        board.has("numpy", "onnxruntime")


def way(board: Board) -> Destination:
    """Return the way to a board."""
    return Destination(name=board.name, host=Host(address=board.name), ssh_config=board.config)


def play(
    bundle: Bundle,
    boards: Sequence[Board],
    folder: Path,
    plans: Sequence[Then],
    patience: Patience,
    *,
    retries: int = 0,
    others: Sequence[Destination] = (),
) -> Played:
    """Have boards measure a bundle, as `pack bench` does; what is planned happens to the first."""
    watch = Watch({boards[0].name: plans})
    arguments = ("--threads", "1", "--artifact", tiny.ARTIFACT, "--progress", "json")
    order = Order(bundle=bundle, artifacts=(tiny.ARTIFACT,), arguments=arguments, patience=patience)
    whole = FleetOrder(order=order, host=None, limits=Limits(), margins=Margins(), output=folder, retries=retries)
    found = fleet.run([*map(way, boards), *others], whole, watch)
    return Played(results={each.name: each for each in found}, watch=watch)


def failure(played: Played, board: Board) -> Failure:
    """Return how a board has failed, without a report."""
    result = played.results[board.name]
    assert result.report is None
    assert result.failure
    assert exit_code([result]) == result.failure.exit_code
    return result.failure


def refused(told: Told, board: Board) -> Failure:
    """Return how a board has failed for a user of `pack bench`, who reads of it."""
    result = told.results[board.name]
    assert result.report is None
    assert result.failure
    assert f"{board.name}: error: {result.failure.what}" in told.err
    return result.failure


def in_the_end(*boards: Board) -> list[str]:
    """Return what is left on boards that have had time to tidy up."""
    ends = time.monotonic() + ENDS_S
    while (left := [line for board in boards for line in story.left_behind(board)]) and time.monotonic() < ends:
        time.sleep(0.1)
    return left


def flip_a_bit(board: Board) -> None:
    """Change what has come of a bundle so far, as bad memory does."""
    (part,) = board.path(SESSIONS).glob("*/.*.part")
    with part.open("r+b") as file:
        byte = file.read(1)
        file.seek(0)
        file.write(bytes([byte[0] ^ 1]))


def fill(folder: Path) -> None:
    """Write into a folder what its disk holds."""
    with (folder / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(MIB))


@pytest.fixture(scope="module")
def endured(both: tuple[Board, Board], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Cut one board off in the middle of the copy, spoil the next copy, and cut off the run; the other has peace.

    A third cannot be reached at all.
    """
    pi5, _ = both
    gone = Destination(name="gone", host=Host(address="pi5", port=1), ssh_config=pi5.config)
    for board in both:
        board.has("numpy", "onnxruntime")
    plans = (
        Then(task="copy", done=3 * MIB, happens=lambda: faults.cut(pi5)),
        Then(task="copy", done=5 * MIB, happens=lambda: flip_a_bit(pi5)),
        Then(task="timing", done=1, happens=lambda: faults.cut(pi5)),
    )
    folder = tmp_path_factory.mktemp("endured")
    return play(bundle, both, folder, plans, Patience(lease_s=20), retries=3, others=[gone])


def test_a_board_that_is_cut_off_again_and_again_reports_in_the_end(endured: Played) -> None:
    pi5 = endured.results["pi5"]
    assert (pi5.failure, pi5.attempts) == (None, 4)
    assert pi5.report
    assert pi5.report.complete
    assert endured.watch.boards["pi5"].plans == []


def test_the_other_board_has_not_noticed(endured: Played) -> None:
    pi4 = endured.results["pi4"]
    assert (pi4.failure, pi4.attempts, pi4.copied) == (None, 1, True)
    assert pi4.report
    assert pi4.report.complete


def test_a_board_that_cannot_be_reached_disturbs_neither(endured: Played) -> None:
    gone = endured.results["gone"]
    assert (gone.report, gone.attempts) == (None, 4)
    assert gone.failure
    assert gone.failure.what == "not reached: ssh: connect to host 127.0.0.1 port 1: Connection refused"
    assert list(endured.results) == ["pi5", "pi4", "gone"]


def test_a_copy_that_was_cut_goes_on_where_it_was(endured: Played, bundle: Bundle) -> None:
    first, second, *_ = endured.watch.boards["pi5"].copies()
    assert first[0] == 0
    assert 3 * MIB <= first[-1] <= second[0] < bundle.size_bytes


def test_a_bundle_that_was_changed_on_the_way_is_sent_again(endured: Played, bundle: Bundle) -> None:
    said = endured.watch.boards["pi5"].said
    assert "the board says: it arrived otherwise than it was sent; trying again in 4 s" in said
    _, second, third, fourth = endured.watch.boards["pi5"].copies()
    assert second[-1] == third[-1] == bundle.size_bytes
    assert third[0] == 0
    # After the run was cut off it is still there.
    assert fourth == [bundle.size_bytes]


def test_nothing_of_all_this_is_left(endured: Played, pi5: Board, pi4: Board) -> None:
    assert len(endured.results) == 3
    assert in_the_end(pi5, pi4) == []


@pytest.mark.parametrize(("task", "done"), [("copy", 2 * MIB), ("timing", 0)], ids=["copy", "run"])
def test_without_retries_a_cut_is_the_boards_failure(
    pi5: Board, bundle: Bundle, tmp_path: Path, task: str, done: int
) -> None:
    running = list[str]()

    def cut() -> None:
        running.extend(" ".join(words) for words in pi5.running())
        faults.cut(pi5)

    found = failure(play(bundle, [pi5], tmp_path, [Then(task=task, done=done, happens=cut)], SHORT), pi5)
    assert any(tiny.ARTIFACT in line for line in running) == (task == "timing")
    assert found.what.startswith("lost: ")
    assert found.advice == "see that it is on, and not short of memory"
    assert found.exit_code == MeasurementError.exit_code
    assert in_the_end(pi5) == []


def test_a_bundle_that_never_arrives_as_it_was_sent_is_refused(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    plans = [Then(task="copy", done=2 * MIB, happens=lambda: flip_a_bit(pi5))]
    found = failure(play(bundle, [pi5], tmp_path, plans, SHORT), pi5)
    assert found == Failure(
        what="the board says: it arrived otherwise than it was sent",
        advice="if it stays so, the memory or the disk of the board is failing",
        exit_code=BundleError.exit_code,
    )
    assert in_the_end(pi5) == []


def test_a_connection_that_hangs_is_given_up(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    with ExitStack() as stack:
        plans = [Then(task="copy", done=2 * MIB, happens=lambda: stack.enter_context(faults.stalled(pi5)))]
        found = failure(play(bundle, [pi5], tmp_path, plans, Patience(lease_s=2, silence_s=4)), pi5)
    assert (found.what, found.exit_code) == ("silent for 4 s", MeasurementError.exit_code)
    assert in_the_end(pi5) == []


def test_a_disk_that_becomes_full_ends_the_copy(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    with faults.small_disk(pi5, 128 * MIB):
        plans = [Then(task="copy", done=2 * MIB, happens=lambda: fill(pi5.path(CACHE)))]
        found = failure(play(bundle, [pi5], tmp_path, plans, SHORT, retries=2), pi5)
        assert pi5.running() == ()
        assert [path.name for path in pi5.path(CACHE).rglob("*")] == ["filler"]
    assert found.what == "the board says: No space left on device"
    assert found.advice == "free some space there: ~/.cache is where the bundle goes for the run"
    assert found.exit_code == MeasurementError.exit_code


def test_a_disk_that_is_too_small_is_told_before_anything_is_copied(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    with faults.small_disk(pi5, 32 * MIB):
        told = story.bench(bundle.path, [pi5], tmp_path, "--json")
        assert list(pi5.path(CACHE).rglob("*")) == []
    found = refused(told, pi5)
    needs = (2 * bundle.size_bytes + SPARE_BYTES) / MIB
    assert found.what == f"32 MiB are free at {CACHE}/edgepack, and the run needs {needs:.0f} MiB"
    assert found.advice == "free some space there"
    assert told.code == found.exit_code == MeasurementError.exit_code


def test_a_board_that_is_off_is_tried_again_and_told(pi4: Board, bundle: Bundle, tmp_path: Path) -> None:
    with faults.switched_off(pi4):
        told = story.bench(bundle.path, [pi4], tmp_path, "--retries", 1, "--json")
    found = refused(told, pi4)
    assert told.results["pi4"].attempts == 2
    assert found.what == f"not reached: ssh: connect to host 127.0.0.1 port {pi4.port}: Connection refused"
    assert found.advice == f"see that it is on, and that `ssh -F {tmp_path / 'ssh_config'} pi4` works"
    assert f"pi4: {found.what}; trying again in 2 s" in told.err
    assert told.code == MeasurementError.exit_code
    assert in_the_end(pi4) == []


def test_a_board_with_another_host_key_is_sent_nothing(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    with faults.wrong_host_key(pi5):
        told = story.bench(bundle.path, [pi5], tmp_path, "--json")
    found = refused(told, pi5)
    assert told.results["pi5"].attempts == 1
    assert found.what == "its host key is not the one that is known here, or none is known: nothing was sent"
    assert f"ssh -F {tmp_path / 'ssh_config'} pi5 once by hand, which shows the key" in found.advice
    assert told.code == MeasurementError.exit_code
    assert in_the_end(pi5) == []


def test_a_board_without_python_is_told_how_to_get_one(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    with faults.no_python(pi5):
        told = story.bench(bundle.path, [pi5], tmp_path, "--json")
    found = refused(told, pi5)
    assert found.what == "it has no Python, and Python 3.11 or newer is needed (aarch64, 64 bits)"
    assert found.advice == "sudo apt install python3; `python = ...` in an inventory"
    assert told.code == RuntimeUnavailable.exit_code
    assert in_the_end(pi5) == []


def test_an_old_python_is_named(pi5: Board, python39: None, bundle: Bundle, tmp_path: Path) -> None:
    with faults.old_python(pi5):
        told = story.bench(bundle.path, [pi5], tmp_path, "--json")
    found = refused(told, pi5)
    assert found.what == "its Python is 3.9.2, and Python 3.11 or newer is needed (aarch64, 64 bits)"
    assert found.advice == f"{install.NEWER_PYTHON}; `python = ...` in an inventory"
    assert told.code == RuntimeUnavailable.exit_code
    assert in_the_end(pi5) == []


@pytest.mark.parametrize(
    ("there", "what", "packages"),
    [
        ((), "numpy and onnxruntime are not installed there", "numpy onnxruntime"),
        # An environment is made anew, and wants both.
        (("numpy",), "onnxruntime is not installed there", "numpy onnxruntime"),
        (("onnxruntime",), "numpy is not installed there", "numpy"),
    ],
    ids=["neither", "no-runtime", "no-numpy"],
)
def test_what_a_board_lacks_is_told_with_the_command_that_installs_it(
    pi5: Board, bundle: Bundle, tmp_path: Path, there: tuple[Wheels, ...], what: str, packages: str
) -> None:
    pi5.has(*there)
    told = story.bench(bundle.path, [pi5], tmp_path, "--artifact", tiny.ARTIFACT, "--json")
    found = refused(told, pi5)
    assert found.what == what
    makes = f"/usr/bin/python3 -m venv ~/.edgepack && ~/.edgepack/bin/pip install {packages}"
    assert found.advice == f"{makes}, and from then on ~/.edgepack/bin/python; or `pack bench ... --setup`"
    assert told.code == RuntimeUnavailable.exit_code
    assert in_the_end(pi5) == []


def test_a_session_that_is_busy_is_left_alone(pi5: Board, bundle: Bundle, tmp_path: Path) -> None:
    lines = list[str]()
    with link.connect(way(pi5), f"{bundle.id[:12]}-pi5", SHORT) as held:
        told = story.bench(bundle.path, [pi5], tmp_path, "--retries", 0, "--json")
        code = held.run(["python", "-c", "print('alive')"], Listener(out=lines.append))
    found = refused(told, pi5)
    assert (code, lines) == (0, ["alive"])
    assert found.what == f"the board says: another session is using {SESSIONS}/{bundle.id[:12]}-pi5"
    assert found.advice == "wait until the other session has ended, or give each a name of its own in an inventory"
    assert told.code == MeasurementError.exit_code
    assert in_the_end(pi5) == []
