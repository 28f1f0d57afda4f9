"""Several boards at once: what each brings back, whatever becomes of the others."""

import _thread
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from packager.remote import bench, failures, fleet
from packager.remote.bench import Order
from packager.remote.fleet import FleetOrder
from packager.remote.result import BoardResult, Failure, exit_code
from runner import codec, report, report_reader
from runner.bundle import Bundle
from runner.compare.comparison import Limits, Margins
from runner.errors import RuntimeUnavailable
from runner.progress import Advance, Progress
from runner.report import Report
from tests import reports
from tests.fakes import RecordingProgress
from tests.packager.remote.near import PATIENCE, RUNS, Near, connected, to, until

REPORTS = "import pathlib, shutil, sys\nshutil.copy({report!r}, sys.argv[sys.argv.index('-o') + 1])\n"
"""What stands for the runner in a bundle: it brings a report that was written before."""
ALTERED = "its digest does not fit its content: it was altered or damaged after it was written"
DOWN = "ssh: connect to host down port 22: Connection refused"
LOSE_DOWN = f'if [ "$address" = down ]; then echo "{DOWN}" >&2; exit 255; fi\n'


@dataclass
class RecordingDisplay:
    """Remembers what was shown of each board."""

    boards: dict[str, RecordingProgress] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    @contextmanager
    def board(self, name: str) -> Iterator[Progress]:
        """Remember a board's lines and tasks."""
        yield self.boards.setdefault(name, RecordingProgress())

    def say(self, message: str) -> None:
        """Remember the line."""
        self.said.append(message)


@dataclass
class CtrlC(RecordingProgress):
    """Is where somebody presses Ctrl-C, when a task of this name begins."""

    title: str = "timing"

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Press it."""
        if title == self.title:
            _thread.interrupt_main()
        with RecordingProgress.task(self, title, total) as advance:
            yield advance


def brought(bundle: Bundle, *, complete: bool = True) -> Report:
    """Return the report that a board brings back."""
    return report.seal(replace(reports.board(), bundle_id=bundle.id, complete=complete))


def standing_in(bundle: Bundle, folder: Path, script: str = REPORTS, found: Report | None = None) -> Bundle:
    """Return the bundle with a runner that does what a script says, with a `{report}` to bring."""
    file, program = folder / "brought.json", folder / "program"
    file.write_text(codec.write_json(found or brought(bundle)), encoding="utf-8")
    program.write_text(script.replace("{report!r}", repr(str(file))), encoding="utf-8")
    return replace(bundle, path=program)


def ordered(bundle: Bundle, output: Path, *, retries: int = 2, **changes: float | bool) -> FleetOrder:
    """Return an order, with changes of what each board is told."""
    plain = Order(bundle=bundle, artifacts=(), arguments=("--seed", "0"), patience=PATIENCE)
    host = report.seal(replace(reports.host(), bundle_id=bundle.id))
    return FleetOrder(
        order=replace(plain, **changes),  # type: ignore[arg-type]
        host=host,
        limits=Limits(max_slowdown=0.5),
        margins=Margins(),
        output=output,
        retries=retries,
        first_wait_s=0.01,
    )


def run(order: FleetOrder, names: Sequence[str], display: RecordingDisplay) -> tuple[BoardResult, ...]:
    order.output.mkdir(exist_ok=True)
    return fleet.run([to(name, address=name) for name in names], order, display)


def test_a_board_that_is_off_costs_the_others_nothing(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    near.ssh(LOSE_DOWN + RUNS)
    display, output = RecordingDisplay(), tmp_path / "out"
    order = ordered(standing_in(bundle, tmp_path), output)
    down, up = run(order, ["down", "pi@up"], display)
    assert down.failure == Failure(
        what=f"not reached: {DOWN}", advice="see that it is on, and that `ssh down` works", exit_code=5
    )
    assert (down.attempts, down.report, down.exit_code) == (3, None, 5)
    assert (up.attempts, up.failure, up.copied, up.exit_code) == (1, None, True, 0)
    assert up.report == report_reader.load(output / "pi@up.report.json") == brought(bundle)
    assert up.report_file == str(output / "pi@up.report.json")
    assert up.comparison is not None
    assert up.comparison.violated
    assert [path.name for path in output.iterdir()] == ["pi@up.report.json"]
    assert exit_code((down, up)) == 5
    assert exit_code((up,)) == 1
    assert near.left() == []
    again = f"not reached: {DOWN}; trying again in"
    assert display.boards["down"].said == [f"{again} 0.01 s", f"{again} 0.02 s", f"error: not reached: {DOWN}"]
    size = order.order.bundle.size_bytes
    assert [task[:2] for task in display.boards["pi@up"].tasks[:2]] == [("connect", 0), ("copy", size)]
    assert display.boards["pi@up"].said == [f"report: {up.report_file}"]


def test_the_wait_between_attempts_does_not_grow_beyond_all_bounds(
    bundle: Bundle, near: Near, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fleet, "MOST_WAIT_S", 0.02)
    near.ssh(LOSE_DOWN)
    display = RecordingDisplay()
    run(ordered(bundle, tmp_path / "out", retries=4), ["down"], display)
    assert [line.rpartition(" in ")[2] for line in display.boards["down"].said[:-1]] == [
        "0.01 s",
        "0.02 s",
        "0.02 s",
        "0.02 s",
    ]


def test_a_board_that_is_there_the_second_time_brings_its_report(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    near.ssh(f'mkdir "{tmp_path}/tried" 2>/dev/null && exit 255\n{RUNS}')
    display = RecordingDisplay()
    (found,) = run(ordered(standing_in(bundle, tmp_path), tmp_path / "out"), ["pi"], display)
    assert (found.attempts, found.failure, found.exit_code) == (2, None, 0)
    assert display.boards["pi"].said[0] == "not reached: ssh ended without a word; trying again in 0.01 s"


def test_what_another_attempt_would_meet_again_is_not_tried_again(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    near.ssh("echo Permission denied >&2; exit 255")
    (found,) = run(ordered(bundle, tmp_path / "out"), ["pi"], RecordingDisplay())
    assert found.failure
    assert (found.attempts, found.failure.what) == (1, "did not let us in: Permission denied")


def test_a_bundle_that_is_changed_on_the_way_is_sent_again(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    flips = "stdbuf -o0 tr '\\001' '\\002'"
    near.ssh(f'if mkdir "{tmp_path}/tried" 2>/dev/null; then {flips} | {RUNS.removeprefix("exec ")}; exit; fi\n{RUNS}')
    script = REPORTS + "# \1\n"
    display = RecordingDisplay()
    (found,) = run(ordered(standing_in(bundle, tmp_path, script), tmp_path / "out"), ["pi"], display)
    assert (found.attempts, found.failure, found.copied) == (2, None, True)
    told = "the board says: it arrived otherwise than it was sent; trying again in 0.01 s"
    assert display.boards["pi"].said[0] == told
    until(lambda: near.left() == [])


def test_a_board_that_dies_in_the_run_goes_on_with_the_bundle_that_is_there(
    bundle: Bundle, near: Near, tmp_path: Path
) -> None:
    dies = f"import os, pathlib\nif not pathlib.Path('{tmp_path}/tried').exists():\n"
    dies += f"    os.mkdir('{tmp_path}/tried')\n    os.kill(os.getppid(), 9)\n"
    order = ordered(standing_in(bundle, tmp_path, dies + REPORTS), tmp_path / "out", retries=20)
    order = replace(order, order=replace(order.order, patience=replace(PATIENCE, lease_s=5)))
    (found,) = run(order, ["pi"], RecordingDisplay())
    assert (found.failure, found.copied, found.exit_code) == (None, False, 0)
    assert found.attempts >= 2
    assert near.left() == []


def test_a_bundle_that_was_kept_is_not_copied_again(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    order = ordered(standing_in(bundle, tmp_path), tmp_path / "out", keep=True)
    session = f".cache/edgepack/sessions/{bundle.id[:12]}-pi"
    (first,) = run(order, ["pi"], RecordingDisplay())
    assert [name for name in near.left() if name.startswith(session)] == [session, f"{session}/net.edgepack"]
    (second,) = run(order, ["pi"], RecordingDisplay())
    assert (first.copied, second.copied) == (True, False)


def test_a_runner_that_fails_is_told_in_its_own_words(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    script = "import sys\nprint('error: fp32.onnx: no kernel\\n  try: another', file=sys.stderr)\nsys.exit(4)\n"
    (found,) = run(ordered(standing_in(bundle, tmp_path, script), tmp_path / "out"), ["pi"], RecordingDisplay())
    assert found.failure == Failure(what="fp32.onnx: no kernel", advice="another", exit_code=4)
    assert (found.attempts, found.exit_code) == (1, 4)
    assert near.left() == []


def test_a_runner_whose_report_is_there_all_the_same_keeps_its_exit_code(
    bundle: Bundle, near: Near, tmp_path: Path
) -> None:
    order = ordered(standing_in(bundle, tmp_path, REPORTS + "sys.exit(5)\n"), tmp_path / "out")
    (found,) = run(order, ["pi"], RecordingDisplay())
    assert (found.failure, found.report, found.exit_code) == (None, brought(bundle), 5)


@pytest.mark.parametrize(
    ("script", "complete", "what"),
    [
        (
            "import os\nos.kill(os.getpid(), 9)\n",
            False,
            "the run there was ended by SIGKILL, as Linux does where memory runs out, and said nothing",
        ),
        ("import os\nos.kill(os.getpid(), 40)\n", True, "the run there was ended by signal 40, and said nothing"),
        ("print('error: it broke', file=sys.stderr)\nsys.exit(5)\n", False, "it broke"),
    ],
)
def test_a_runner_that_dies_is_a_failure_and_what_it_had_by_then_is_brought_all_the_same(
    script: str, complete: bool, what: str, bundle: Bundle, near: Near, tmp_path: Path
) -> None:
    part = brought(bundle, complete=complete)
    order = ordered(standing_in(bundle, tmp_path, REPORTS + script, part), tmp_path / "out", explain=True)
    (found,) = run(order, ["pi"], RecordingDisplay())
    assert found.failure == Failure(what=what, advice="", exit_code=5)
    assert (found.report, found.exit_code, found.attempts) == (part, 5, 1)
    assert near.left() == []


def test_a_runner_that_is_not_done_in_time_is_ended(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    order = ordered(standing_in(bundle, tmp_path, "import time\ntime.sleep(600)\n"), tmp_path / "out", timeout_s=0.5)
    (found,) = run(order, ["pi"], RecordingDisplay())
    assert found.failure == Failure(
        what="not done within 0.5 s", advice="a longer --timeout, or less --effort", exit_code=5
    )
    assert found.attempts == 1
    assert near.left() == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (reports.board(), "what ran there is the bundle abababababab, and not this one"),
        (
            replace(reports.board(), created="later"),
            ALTERED,
        ),
    ],
)
def test_what_comes_back_is_held_against_what_was_sent(
    found: Report, what: str, bundle: Bundle, near: Near, tmp_path: Path
) -> None:
    (result,) = run(ordered(standing_in(bundle, tmp_path, found=found), tmp_path / "out"), ["pi"], RecordingDisplay())
    assert result.failure
    assert (result.failure.what, result.failure.exit_code, result.report) == (what, 3, None)


def test_a_report_that_its_own_samples_contradict_is_refused(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    first, *others = brought(bundle).artifacts
    assert first.latency
    wrong = replace(first, latency=replace(first.latency, median_ns=-1.0))
    found = report.seal(replace(brought(bundle), artifacts=(wrong, *others)))
    (result,) = run(ordered(standing_in(bundle, tmp_path, found=found), tmp_path / "out"), ["pi"], RecordingDisplay())
    assert result.failure
    assert result.failure.what == (
        "figures do not follow from the record:\n  fp32.onnx: latency.median_ns: reported -1, the record gives 301000"
    )
    assert (result.failure.exit_code, result.report) == (3, None)


def test_a_disk_that_takes_no_report_here_costs_the_others_nothing(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (output / "first.report.json").mkdir(parents=True)
    first, second = run(ordered(standing_in(bundle, tmp_path), output), ["first", "second"], RecordingDisplay())
    assert first.failure
    assert first.failure.exit_code == 2
    assert second.failure is None


def test_a_bundle_that_is_gone_here_is_told(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    gone = replace(bundle, path=tmp_path / "gone")
    (found,) = run(ordered(gone, tmp_path / "out"), ["pi"], RecordingDisplay())
    assert found.failure
    assert found.failure.what == f"{tmp_path}/gone: No such file or directory"
    assert near.left() == []


def test_ctrl_c_brings_back_what_there_is(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        'print(\'{"task": "timing", "total": 5, "done": 1, "note": ""}\', file=sys.stderr)\n'
        "try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    pass\n"
    )
    part = brought(bundle, complete=False)
    order = ordered(standing_in(bundle, tmp_path, f"{script}{REPORTS}sys.exit(130)\n", part), tmp_path / "out")
    display = RecordingDisplay(boards={"pi": CtrlC()})
    (found,) = run(order, ["pi"], display)
    assert display.said == ["interrupted: the boards are asked to end, and their reports are brought back"]
    assert (found.report, found.failure, found.exit_code) == (part, None, 130)
    assert report_reader.load(tmp_path / "out" / "pi.report.json") == part
    assert exit_code((found,)) == 130
    assert near.left() == []


def test_ctrl_c_ends_the_waiting_for_a_board_that_is_off_too(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    near.ssh("exec sleep 600")
    order = ordered(bundle, tmp_path / "out")
    display = RecordingDisplay()

    @contextmanager
    def pressed(name: str) -> Iterator[Progress]:
        if name not in display.boards:
            display.boards[name] = RecordingProgress()
            _thread.interrupt_main()
        yield display.boards[name]

    display.board = pressed  # type: ignore[method-assign]
    (found,) = run(order, ["pi"], display)
    assert found.failure == Failure(what="interrupted", advice="", exit_code=130)
    assert found.attempts == 1


# Before anything is copied


def test_a_board_without_runtime_is_told_what_to_install(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    near.program("python3", f'exec {sys.executable} -I -S "$@"')
    (found,) = run(ordered(bundle, tmp_path / "out"), ["pi"], RecordingDisplay())
    assert found.failure
    assert found.failure.exit_code == 4
    assert found.failure.what == "numpy and onnxruntime are not installed there"
    assert "onnxruntime" in found.failure.advice
    assert found.failure.advice.endswith("; or `pack bench ... --setup`")
    assert near.left() == []


def test_a_board_is_refused_that_has_one_of_two_or_too_little_space(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    with connected() as board:
        facts = replace(board.facts, packages={"numpy": "2", "onnxruntime": "1"}, free_bytes=100 << 20)
    order = ordered(bundle, tmp_path).order
    bench.check(facts, order, "pi")
    with pytest.raises(RuntimeUnavailable, match=r"^pi: onnxruntime is not installed there\n"):
        bench.check(replace(facts, packages={"numpy": "2", "torch": "2"}), order, "pi")
    with pytest.raises(RuntimeUnavailable, match=r"^pi: numpy is not installed there\n"):
        bench.check(replace(facts, packages={"onnxruntime": "1"}), order, "pi")
    large = replace(order, bundle=replace(bundle, size_bytes=50 << 20))
    with pytest.raises(failures.Refusal) as error:
        bench.check(facts, large, "pi")
    assert str(error.value) == (
        f"pi: 100 MiB are free at {facts.cache}, and the run needs 164 MiB\n  try: free some space there"
    )


@dataclass
class Broken(RecordingProgress):
    """Fails in a way that nobody foresaw."""

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        """Fail, once something is copied."""
        if title == "copy":
            raise KeyError(title)
        with RecordingProgress.task(self, title, total) as advance:
            yield advance


def test_what_nobody_foresaw_costs_one_board_alone(bundle: Bundle, near: Near, tmp_path: Path) -> None:
    display = RecordingDisplay(boards={"pi4": Broken()})
    bad, good = run(ordered(standing_in(bundle, tmp_path), tmp_path / "out"), ["pi4", "pi5"], display)
    assert bad.failure == Failure(
        what="unexpected KeyError: 'copy'", advice="EDGEPACK_DEBUG=1 shows where it happened", exit_code=5
    )
    assert (good.failure, good.exit_code) == (None, 0)
    assert near.left() == []
