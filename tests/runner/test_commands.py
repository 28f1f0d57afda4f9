"""`ab`, `selftest` and measuring in several scenarios as a user meets them, with real workers and very short plans."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from runner import codec, commands, device, measure, noise, report, report_reader, selftest, verify
from runner.bundle import FP32_REFERENCE
from runner.compare.comparison import Comparison
from runner.errors import EdgepackError, RuntimeUnavailable
from runner.measure import session
from runner.measure.latency import Plan
from runner.noise import NoiseFloor
from runner.progress import Silent
from runner.selftest import Rate, SelfTest
from tests import bundles, networks
from tests.runner.test_cli import ROOT, bench, bench_runner

SAMPLES = 40
LONGEST_S = 60.0


def write(path: Path, shift: float = 0.0) -> Path:
    """Write a bundle of a network that runs here, and of one that takes one sample at a time."""
    network = networks.write_onnx(path.with_suffix(".onnx")).read_bytes()
    logits = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
    artifacts = (bundles.artifact(), bundles.artifact("int8", dynamic_batch=False))
    return bundles.write_bundle(
        path,
        {item.name: network for item in artifacts},
        artifacts,
        logits=dict.fromkeys((FP32_REFERENCE, *(item.name for item in artifacts)), logits + np.float32(shift)),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    ).path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle."""
    return write(tmp_path_factory.mktemp("bundle") / "net.edgepack")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, with a state folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def of_ten_pairs(created: str) -> SelfTest:
    """Return a self-test that was whole, with a floor of 2 %."""
    unchanged = Rate(interleaved=False, slowdown=0.0, ratios=(1.02,) * 10, words=("inconclusive",) * 10)
    return SelfTest(
        device="Example CPU",
        artifact="fp32.onnx",
        threads=1,
        created=created,
        rates=(unchanged,),
        applied=0.03,
        floor=0.02,
    )


def brief(processes: int) -> Plan:
    """Return a plan of so many processes that call as seldom as they may."""
    return Plan(processes=processes, warmup_s=0, timed_s=0, until_precise=False)


def test_two_bundles_are_measured_in_turn_and_judged_side_by_side(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "TURNS", {"quick": brief(2)})
    other = write(here / "other.edgepack", shift=1e-3)
    options = ("--artifact", "fp32.onnx", "--threads", "1", "--max-accuracy-drop", "10%", "-o", here)
    ended = bench(capsys, "ab", bundle, other, *options)
    assert (ended.code, ended.err) == (5, f"report: {here}/a.report.json\nreport: {here}/b.report.json\n")
    assert ended.out.startswith("net for x86: the second beside the first, processes in turn\n")
    assert "held     fp32.onnx  top-1 at most -10.00 points" in ended.out
    first, second = (report_reader.load(here / f"{letter}.report.json") for letter in "ab")
    assert first.bundle_id != second.bundle_id
    assert first.interleaved == second.interleaved is not None
    for found in (first, second):
        assert (found.complete, found.settings.threads, verify.contradictions(found)) == (True, 1, ())
        latency = found.artifacts[0].latency
        assert latency is not None
        assert [process.turn for process in latency.processes] == [0, 1]
    # Two processes are too few for any claim, and that is told of both sides.
    compared = bench(capsys, "compare", here / "a.report.json", here / "b.report.json", "--json")
    withheld = codec.read_json(Comparison, compared.out).artifacts[0].withheld
    assert [reason.code for reason in withheld if reason.code == "few-processes"] == ["few-processes"] * 2


def test_a_limit_that_is_missed_in_turn_is_exit_1_also_as_json_or_markdown(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "TURNS", {"quick": brief(1)})
    options = ("--artifact", "fp32.onnx", "--max-slowdown", "5%", "--strict")
    ended = bench(capsys, "ab", bundle, bundle, *options, "--json")
    found = codec.read_json(Comparison, ended.out)
    assert (ended.code, ended.err, found.violated) == (1, "", True)
    assert (found.bundle_id, found.limits.max_slowdown) == (found.host.bundle_id, 0.05)
    ended = bench(capsys, "ab", bundle, bundle, *options, "--markdown")
    assert ended.code == 1
    assert ended.out.startswith("### net for x86: the second beside the first, processes in turn\n")
    assert list(here.iterdir()) == []


def test_turns_are_taken_in_the_scenario_that_is_asked_for_and_what_only_one_bundle_has_is_left_out(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "TURNS", {"quick": brief(1)})
    network = bundle.with_suffix(".onnx").read_bytes()
    logits = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
    other = bundles.write_bundle(
        here / "other.edgepack",
        {"fp32.onnx": network},
        (bundles.artifact(),),
        logits=dict.fromkeys((FP32_REFERENCE, "fp32.onnx"), logits),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    ).path
    ended = bench(capsys, "ab", other, bundle, "--threads", "1", "--batch", "8", "--streams", "2", "-o", here)
    assert ended.err.startswith(f"left out, for only {bundle} has it: int8.onnx\n")
    for letter in "ab":
        (artifact,) = report_reader.load(here / f"{letter}.report.json").artifacts
        assert artifact.latency is not None
        assert artifact.latency.scenario == report.Scenario(threads=1, batch=8, streams=2)


def test_bad_input_of_two_bundles_is_told_before_anything_is_measured(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "notes.txt").write_text("hello")
    cases = {
        ("ab", bundle): (2, "Missing argument 'BUNDLE_B'"),
        ("ab", bundle, "gone.edgepack"): (3, "error: gone.edgepack: cannot be read: No such file or directory\n"),
        ("ab", "notes.txt", bundle): (3, "error: notes.txt: "),
        ("ab", bundle, bundle, "--artifact", "fp31.onnx"): (2, "no artifact 'fp31.onnx' in this bundle"),
        ("ab", bundle, bundle, "--json", "--markdown"): (2, "error: --json and --markdown exclude each other\n"),
        ("ab", bundle, bundle, "--max-slowdown", "5"): (2, "'5' may be meant either way"),
        ("ab", bundle, bundle, "--threads", "0"): (2, "0 is not in the range 1<=x<=1024"),
        ("ab", bundle, bundle, "--batch", "1,8"): (2, "'1,8' is not a valid integer"),
        ("ab", bundle, bundle, "--batch", "41"): (2, "batch: expected 1 to 40, the samples that there are, got 41"),
        ("ab", bundle, bundle, "--streams", "0"): (2, "0 is not in the range"),
        ("ab", bundle, bundle, "-o", "notes.txt"): (
            2,
            "error: notes.txt: is a file, and the two reports go into a folder\n  try: a folder with -o\n",
        ),
        ("ab", bundle, bundle, "-o", "gone/on"): (
            2,
            "gone/on/a.report.json: cannot be written: there is no folder gone/on",
        ),
    }
    for args, (code, told) in cases.items():
        ended = bench(capsys, *args)
        assert (ended.code, ended.out) == (code, "")
        assert told in ended.err
    assert list(here.iterdir()) == [here / "notes.txt"]


def test_bundles_of_other_samples_do_not_take_turns(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = (bundle.with_suffix(".onnx")).read_bytes()
    logits = networks.expected_logits(networks.inputs(SAMPLES - 1)).astype(np.float32)
    other = bundles.write_bundle(
        here / "other.edgepack",
        {"fp32.onnx": network},
        (bundles.artifact(),),
        logits={FP32_REFERENCE: logits, "fp32.onnx": logits},
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    ).path
    ended = bench(capsys, "ab", bundle, other)
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith(f"error: {other}: was packed with other evaluation samples than {bundle}: ")


def test_interrupted_in_turn_both_reports_are_written_and_it_ends_with_130(bundle: Path, here: Path) -> None:
    running = subprocess.Popen(
        [*bench_runner(), "ab", str(bundle), str(bundle), "--effort", "rigorous", "--json", "-o", str(here)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + LONGEST_S
    while not children.read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=LONGEST_S)
    assert running.returncode == 130
    assert codec.read_json(Comparison, out).violated is False
    assert [report_reader.load(here / f"{letter}.report.json").complete for letter in "ab"] == [False, False]


def test_an_interrupted_run_leaves_a_whole_report_as_it_was(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "PLANS", {"quick": brief(1)})
    options = (bundle, "--artifact", "fp32.onnx", "--threads", "1", "-o", "old.json")
    assert bench(capsys, *options).err == "report: old.json\n"
    before = Path("old.json").read_bytes()

    monkeypatch.setattr(measure, "time_in_rounds", interrupted)
    ended = bench(capsys, *options)
    assert (ended.code, ended.err) == (130, "report: old.partial.json (old.json stays as it was)\n")
    assert Path("old.json").read_bytes() == before
    assert report_reader.load(Path("old.partial.json")).complete is False
    told = bench(capsys, "verify", "old.partial.json").out
    assert "; the run was interrupted, with 0 of 1 timed\n" in told
    monkeypatch.undo()
    monkeypatch.chdir(here)
    monkeypatch.setattr(session, "PLANS", {"quick": brief(1)})
    assert bench(capsys, *options).err == "report: old.json\n"
    assert sorted(path.name for path in here.iterdir()) == ["old.json"]


def interrupted(*_: object) -> None:
    """Do as Ctrl-C does."""
    raise KeyboardInterrupt


def test_a_run_that_is_killed_leaves_what_was_finished(bundle: Path, here: Path) -> None:
    running = subprocess.Popen(
        [*bench_runner(), str(bundle), "--effort", "rigorous"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    path, deadline = here / "net.report.json", time.monotonic() + LONGEST_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    running.kill()
    running.wait()
    found = report_reader.load(path)
    assert (found.complete, verify.contradictions(found)) == (False, ())
    answered = found.artifacts[0].accuracy
    assert answered is not None
    assert answered.top1 == 1.0


ROUNDS = """
import fcntl, os, termios
if os.isatty(0):
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from runner.measure import session
from runner.measure.latency import Plan
session.PLANS = {"quick": Plan(processes=10_000, warmup_s=0, timed_s=0, until_precise=False)}
from runner.cli import main
main()
"""


def measuring(bundle: Path, terminal: int | None = None) -> subprocess.Popen[bytes]:
    """Start rounds without end, on a terminal of their own if there is one."""
    return subprocess.Popen(
        [sys.executable, "-c", ROUNDS, str(bundle), "--artifact", "fp32.onnx", "--threads", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=terminal or subprocess.DEVNULL,
        stdout=terminal or subprocess.DEVNULL,
        stderr=terminal or subprocess.DEVNULL,
        start_new_session=True,
    )


def rounds_kept(path: Path) -> int:
    """Return of how many rounds the report has times that stands there by now."""
    latency = report_reader.load(path).artifacts[0].latency if path.exists() else None
    return len(latency.processes) if latency else 0


def wait_for_rounds(path: Path, count: int) -> None:
    """Wait until the times of so many rounds are kept."""
    deadline = time.monotonic() + LONGEST_S
    while rounds_kept(path) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGKILL, -9)])
def test_what_was_timed_is_kept_when_a_signal_ends_the_run(
    bundle: Path, here: Path, number: signal.Signals, code: int
) -> None:
    running, path = measuring(bundle), here / "net.report.json"
    try:
        wait_for_rounds(path, 2)
        running.send_signal(number)
        assert running.wait(timeout=LONGEST_S) == code
    finally:
        running.kill()
        running.wait()
    found = report_reader.load(path)
    assert (found.complete, verify.contradictions(found)) == (False, ())
    latency = found.artifacts[0].latency
    assert latency is not None
    assert (len(latency.processes) >= 2, latency.failures, latency.stopped) == (True, (), "interrupted")


def test_a_terminal_that_is_closed_leaves_the_report_of_what_was_finished(bundle: Path, here: Path) -> None:
    keyboard, terminal = os.openpty()
    running, path = measuring(bundle, terminal), here / "net.report.json"
    os.close(terminal)
    try:
        while rounds_kept(path) < 1:
            os.read(keyboard, 1 << 16)  # the bar is drawn, and somebody has to look
        os.close(keyboard)
        assert running.wait(timeout=LONGEST_S) == 129
    finally:
        running.kill()
        running.wait()
    found = report_reader.load(path)
    assert (found.complete, rounds_kept(path) >= 1, verify.contradictions(found)) == (False, True, ())


def test_scenarios_of_the_command_line_are_their_product(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "PLANS", {"quick": brief(1)})
    ended = bench(capsys, bundle, "--artifact", "fp32.onnx", "--batch", "1,8", "--threads", "1,2", "--streams", "1,1")
    found = report_reader.load(here / "net.report.json")
    assert ended.code == 5  # one process is too few for a median
    assert [(it.threads, it.batch, it.streams) for it in (found.settings.scenario, *found.settings.more)] == [
        (1, 1, 1),
        (1, 8, 1),
        (2, 1, 1),
        (2, 8, 1),
    ]
    (artifact,) = found.artifacts
    assert artifact.latency is not None
    assert [(it.threads, it.batch) for it in artifact.scenarios] == [(1, 8), (2, 1), (2, 8)]
    assert bench(capsys, "verify", "net.report.json").code == 0


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--batch", "0", "0 is not in the range"),
        ("--batch", "1,", "'' is not a valid integer"),
        ("--batch", "1,many", "'many' is not a valid integer"),
        ("--threads", "1;2", "'1;2' is not a valid integer"),
        ("--streams", "1025", "1025 is not in the range"),
        ("--batch", "1,41", "batch: expected 1 to 40, the samples that there are, got 41"),
    ],
)
def test_counts_that_cannot_be_meant_are_a_usage_error(
    bundle: Path, here: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, told: str
) -> None:
    ended = bench(capsys, bundle, option, value)
    assert (ended.code, ended.out) == (2, "")
    assert told in ended.err
    assert list(here.iterdir()) == []


def test_a_disk_that_fills_up_while_it_is_measured_does_not_lose_what_is_shown(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "PLANS", {"quick": brief(1)})

    def full(path: Path, text: str) -> None:
        raise EdgepackError("cannot be written: No space left on device", where=str(path))

    monkeypatch.setattr("runner.atomic.write", full)
    ended = bench(capsys, bundle, "--artifact", "fp32.onnx", "--threads", "1")
    assert ended.err == "error: net.report.json: cannot be written: No space left on device\n"
    assert (ended.code, ended.out.startswith("net for x86\n")) == (5, True)


def without_reminders(said: str) -> str:
    """Return the lines that are no word on how far long work is: on a busy machine there are some."""
    return "".join(line for line in said.splitlines(keepends=True) if not line.endswith(" left\n"))


def test_the_self_test_prints_its_rates_and_remembers_the_floor(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "SESSION", brief(1))
    monkeypatch.setattr(selftest, "TURNS", brief(1))
    monkeypatch.setattr(selftest, "LEAST_PROCESSES", 1)
    monkeypatch.setattr(selftest, "LEAST_BLOCKS", 1)
    ended = bench(capsys, "selftest", bundle, "--pairs", "1", "--threads", "1")
    told = "noise floor: not remembered, for fewer than 10 pairs may have met a quiet hour\n"
    assert (ended.code, without_reminders(ended.err), list((here / "state").glob("*/*"))) == (0, told, [])
    monkeypatch.setattr(selftest, "LEAST_PAIRS", 1)
    monkeypatch.setattr(selftest, "disturbances", lambda _: ())  # whatever else runs here
    ended = bench(capsys, "selftest", bundle, "--pairs", "1", "--threads", "1", "--json")
    (file,) = (here / "state" / "edgepack").iterdir()
    assert (ended.code, without_reminders(ended.err)) == (0, f"noise floor: {file}\n")
    found = codec.read_json(SelfTest, ended.out)
    assert (found.artifact, found.threads, {(rate.interleaved, rate.slowdown) for rate in found.rates}) == (
        "fp32.onnx",
        1,
        {(in_turn, slowdown) for in_turn in (False, True) for slowdown in (0.0, 0.03, 0.05)},
    )
    assert all(rate.words == ("inconclusive",) for rate in found.rates)  # one process a side decides nothing
    monkeypatch.setattr(session, "PLANS", {"quick": brief(1)})
    bench(capsys, bundle, "--artifact", "fp32.onnx", "--threads", "1")
    assert report_reader.load(here / "net.report.json").noise_floor == found.floor


def test_a_smaller_floor_of_no_more_pairs_does_not_take_the_place_of_an_earlier_one(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "selftest", lambda *_: of_ten_pairs("2026-11-02T12:00:00+00:00"))
    facts = device.facts()
    earlier = NoiseFloor(device="Example CPU", floor=0.04, pairs=10, threads=1, created="2026-11-01T12:00:00+00:00")
    noise.store(facts, earlier)
    ended = bench(capsys, "selftest", bundle, "--threads", "1")
    assert (ended.code, ended.err) == (
        0,
        "noise floor: as large as before, 4.00 % in 10 pairs at 2026-11-01T12:00:00+00:00, for this is smaller and of "
        f"no more pairs: {noise.path(facts, 1)}\n",
    )
    assert noise.load(facts, 1) == 0.04


def test_a_self_test_takes_the_first_artifact_that_runs_here(bundle: Path, here: Path) -> None:
    network = bundle.with_suffix(".onnx").read_bytes()
    logits = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
    artifacts = (bundles.artifact("fp16", machines=("aarch64",)), bundles.artifact())
    if os.uname().machine == "aarch64":
        artifacts = (bundles.artifact("fp16", machines=("x86_64",)), bundles.artifact())
    source = bundles.write_bundle(
        here / "net.edgepack",
        {item.name: network for item in artifacts},
        artifacts,
        logits=dict.fromkeys((FP32_REFERENCE, *(item.name for item in artifacts)), logits),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    )
    settings = report.Settings(threads=1)
    with measure.one_course(source, None, settings, Silent()) as course:
        assert (course.name, course.job.file.exists()) == ("fp32.onnx", True)
    with (
        pytest.raises(RuntimeUnavailable, match=r"^nothing here can run any of the artifacts: fp16\.onnx: runs on "),
        measure.one_course(source, "fp16.onnx", settings, Silent()),
    ):
        pass


def test_bad_input_of_a_self_test_is_told(bundle: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "notes.txt").write_text("hello")
    cases = {
        ("selftest",): (2, "Missing argument 'BUNDLE'"),
        ("selftest", "gone.edgepack"): (3, "error: gone.edgepack: cannot be read: No such file or directory\n"),
        ("selftest", "notes.txt"): (3, "error: notes.txt: "),
        ("selftest", bundle, "--artifact", "fp31.onnx"): (2, "no artifact 'fp31.onnx' in this bundle"),
        ("selftest", bundle, "--pairs", "0"): (2, "0 is not in the range"),
        ("selftest", bundle, "--markdown"): (2, "No such option '--markdown'"),
    }
    for args, (code, told) in cases.items():
        ended = bench(capsys, *args)
        assert (ended.code, ended.out) == (code, "")
        assert told in ended.err
    assert list(here.iterdir()) == [here / "notes.txt"]


def test_a_floor_that_cannot_be_kept_does_not_lose_the_self_test(
    bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "selftest", lambda *_: of_ten_pairs("2026-11-01T12:00:00+00:00"))
    (here / "state").write_text("a file, where a folder should be")
    ended = bench(capsys, "selftest", bundle, "--pairs", "10", "--threads", "1")
    assert ended.code == 5
    assert ended.err.startswith(f"error: {here}/state/edgepack: cannot be written: ")
    assert ended.out.startswith("How well Example CPU can be measured\n")


def test_an_interrupted_self_test_shows_what_it_has_remembers_nothing_and_ends_with_130(
    bundle: Path, here: Path
) -> None:
    running = subprocess.Popen(
        [*bench_runner(), "selftest", str(bundle), "--threads", "1", "--json"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(here / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    deadline = time.monotonic() + LONGEST_S
    seen = set[str]()
    while len(seen) < 3 and time.monotonic() < deadline:  # the first takes the answers
        seen |= set(children.read_text().split())
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=LONGEST_S)
    assert (running.returncode, err) == (130, "noise floor: not remembered, for the self-test was interrupted\n")
    assert codec.read_json(SelfTest, out).complete is False
    assert not (here / "state").exists()
