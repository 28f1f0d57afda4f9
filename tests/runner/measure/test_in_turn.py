"""Two bundles measured in turn: one process of each in every round, and signed ranks instead of noise floors."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from runner import codec, verify
from runner.bundle import Bundle
from runner.compare import compare
from runner.compare.comparison import Limits
from runner.errors import BundleError, MeasurementError, UsageError
from runner.measure import run, run_in_turn
from runner.measure.latency import TURNS
from runner.operators import OperatorTime
from runner.progress import Advance, Progress, Silent
from runner.render.comparison import comparison_page
from runner.render.page import as_text
from runner.report import Report, Settings
from runner.report_reader import read
from runner.worker.order import Job, Timing
from runner.workers import Answered, Timed, ignore_window
from tests import bundles
from tests.fakes import FakeWorkers, RecordingProgress, Script
from tests.runner.measure.scripted import FP32, INT8, LABELS, bench, bundle, logits, workers

SETTINGS = Settings(threads=1)
DRIFT = tuple(round(1_000_000 * 1.05**turn) for turn in range(8))
"""Of one bundle's processes: each round is 5 % slower than the one before, on a machine that becomes slow."""


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Bundle, Bundle]:
    """Return two bundles of the same samples, whose files are not the same."""
    return (
        bundle(tmp_path / "a.edgepack", FP32, content=" of a"),
        bundle(tmp_path / "b.edgepack", FP32, content=" of b"),
    )


@dataclass
class TwoBundles:
    """Workers of their own for each of the two bundles, told apart by the last letter of the files."""

    a: FakeWorkers
    b: FakeWorkers
    order: str = ""

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the scripted logits."""
        return self._of(job)[1].answer(job, advance)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return scripted times."""
        letter, fake = self._of(job)
        self.order += letter
        return fake.time(job, timing, window)

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return scripted operators."""
        return self._of(job)[1].profile(job, seed)

    def _of(self, job: Job) -> tuple[str, FakeWorkers]:
        letter = job.file.read_text(encoding="ascii")[-1]
        return letter, {"a": self.a, "b": self.b}[letter]


def taking(*medians_ns: int, dies: Mapping[int, BaseException] | None = None) -> FakeWorkers:
    """Return workers that take so long with the artifact, process by process."""
    return FakeWorkers({"fp32.onnx": Script(logits=logits(), medians_ns=medians_ns, dies=dies or {})})


def in_turn(pair: tuple[Bundle, Bundle], fake: TwoBundles, progress: Progress = Silent()) -> tuple[Report, Report]:  # noqa: B008 - has no state
    """Measure both."""
    quiet = replace(bench(fake.a, floor=0.2), workers=fake, plans=TURNS)
    return run_in_turn(pair, SETTINGS, progress=progress, bench=quiet)


def test_every_round_has_a_process_of_each_bundle(pair: tuple[Bundle, Bundle]) -> None:
    fake = TwoBundles(a=taking(*DRIFT), b=taking(*DRIFT))
    progress = RecordingProgress()
    first, second = in_turn(pair, fake, progress)
    assert [set(fake.order[turn : turn + 2]) for turn in range(0, 16, 2)] == [{"a", "b"}] * 8
    assert len(fake.order) == 16
    assert fake.order not in {"ab" * 8, "ba" * 8}
    for report in (first, second):
        found = report.artifacts[0].latency
        assert found is not None
        assert [process.turn for process in found.processes] == [*range(8)]
        assert (found.stopped, report.complete, verify.contradictions(report)) == ("budget", True, ())
        assert read(codec.write_json(report), "report.json") == report
    assert progress.tasks[-1] == ("timing", 16, 16)
    assert (first.bundle_id, second.bundle_id) == (pair[0].id, pair[1].id)


def test_two_reports_know_that_they_took_turns_and_others_do_not(pair: tuple[Bundle, Bundle]) -> None:
    first, second = in_turn(pair, TwoBundles(a=taking(*DRIFT), b=taking(*DRIFT)))
    again, _ = in_turn(pair, TwoBundles(a=taking(*DRIFT), b=taking(*DRIFT)))
    alone = run(pair[0], SETTINGS, bench=bench(workers({"fp32.onnx": DRIFT})))
    assert first.interleaved == second.interleaved
    assert first.interleaved not in {None, again.interleaved}
    assert alone.interleaved is None


@pytest.mark.parametrize(
    ("percent", "word"), [(105, "slower"), (95, "faster"), (100, "equivalent"), (101, "equivalent")]
)
def test_a_small_difference_is_found_on_a_machine_that_drifts(
    pair: tuple[Bundle, Bundle], percent: int, word: str
) -> None:
    second = tuple(median * percent // 100 for median in DRIFT)
    compared = compare(*in_turn(pair, TwoBundles(a=taking(*DRIFT), b=taking(*second))), Limits())
    found = compared.artifacts[0]
    assert found.latency is not None
    assert found.latency.interval is not None
    assert found.latency.ratio == pytest.approx(percent / 100, rel=1e-3)
    assert (found.word, found.latency.interval.confidence) == (word, 1 - 2 / 2**8)
    assert found.latency.margin == 0.02  # the floor of 20 % is one between sessions, and these are one
    assert "interval is beyond the margin of 2 %." in " ".join(as_text(comparison_page(compared)).split())


def test_the_same_times_in_two_sessions_are_hidden_by_the_drift_and_the_floor(pair: tuple[Bundle, Bundle]) -> None:
    slower = tuple(median * 105 // 100 for median in DRIFT)
    reports = in_turn(pair, TwoBundles(a=taking(*DRIFT), b=taking(*slower)))
    first, second = (replace(report, interleaved=None) for report in reports)
    found = compare(first, second, Limits()).artifacts[0]
    assert found.latency is not None
    assert (found.word, found.latency.hidden, found.latency.margin) == ("inconclusive", True, 0.2)


def test_a_process_that_died_takes_its_rounds_other_one_with_it(pair: tuple[Bundle, Bundle]) -> None:
    # Two rounds make up for what was lost; the third loss is one too many.
    dies = {number: MeasurementError("the worker was ended by SIGKILL") for number in (3, 6)}
    slower = tuple(median * 105 // 100 for median in DRIFT)
    fake = TwoBundles(a=taking(*DRIFT, dies={0: dies[3]}), b=taking(*slower, dies=dies))
    first, second = in_turn(pair, fake)
    found = compare(first, second, Limits()).artifacts[0]
    assert found.latency is not None
    assert (found.latency.interval, found.word, found.latency.more_processes) == (None, "inconclusive", 1)
    assert found.latency.ratio == pytest.approx(1.05, rel=1e-3)
    (withheld,) = found.withheld
    assert withheld.detail == "no interval of the latency ratio: 7 rounds in which both ran cannot give one of 99 %"
    assert withheld.advice == "measure both again with --effort quick"


def test_interrupted_both_reports_keep_what_they_have(pair: tuple[Bundle, Bundle]) -> None:
    dies = {4: KeyboardInterrupt()}
    first, second = in_turn(pair, TwoBundles(a=taking(*DRIFT, dies=dies), b=taking(*DRIFT, dies=dies)))
    for report in (first, second):
        found = report.artifacts[0].latency
        assert found is not None
        assert (len(found.processes), found.stopped, report.complete) == (4, "interrupted", False)
        assert read(codec.write_json(report), "report.json") == report
    notes = [note.detail for note in compare(first, second, Limits()).notes if note.code == "interrupted"]
    assert notes == [f"the {place}'s run was interrupted: it is not whole" for place in ("first", "second")]


def test_pairs_of_reports_are_kept_on_the_way(pair: tuple[Bundle, Bundle]) -> None:
    kept: list[tuple[Report, Report]] = []
    fake = TwoBundles(a=taking(*DRIFT), b=taking(*DRIFT))
    quiet = replace(bench(fake.a), workers=fake, plans=TURNS)
    run_in_turn(pair, SETTINGS, bench=quiet, save=kept.append)
    answered = [tuple(report.artifacts[0].accuracy is not None for report in reports) for reports in kept]
    assert answered == [(True, False)] + [(True, True)] * 9
    assert [report.complete for reports in kept for report in reports] == [False] * 20
    latencies = [[report.artifacts[0].latency for report in reports] for reports in kept]
    timed = [tuple(len(each.processes) for each in pair if each) for pair in latencies]
    assert timed == [(), (), *((count, count) for count in range(1, 9))]


def test_a_bundle_beside_itself_is_equivalent(pair: tuple[Bundle, Bundle]) -> None:
    fake = TwoBundles(a=taking(*DRIFT), b=taking())
    first, second = run_in_turn((pair[0], pair[0]), SETTINGS, bench=replace(bench(fake.a), plans=TURNS))
    assert len(fake.a.answered) == 2
    assert [artifact.word for artifact in compare(first, second, Limits()).artifacts] == ["equivalent"]


def answering(**scripts: Script) -> FakeWorkers:
    """Return workers that do so with each artifact, by its precision."""
    return FakeWorkers({f"{precision}.onnx": script for precision, script in scripts.items()})


STEADY = Script(logits=logits())


def test_the_processes_of_a_pair_run_one_after_the_other_whatever_else_is_measured(tmp_path: Path) -> None:
    pair = (bundle(tmp_path / "a.edgepack", content=" of a"), bundle(tmp_path / "b.edgepack", content=" of b"))
    fake = TwoBundles(a=answering(fp32=STEADY, int8=STEADY), b=answering(fp32=STEADY, int8=STEADY))
    in_turn(pair, fake)
    assert len(fake.order) == 32
    assert {"".join(sorted(fake.order[first : first + 2])) for first in range(0, 32, 2)} == {"ab"}
    # Which of the two is the first is drawn anew.
    assert {fake.order[first : first + 2] for first in range(0, 32, 2)} == {"ab", "ba"}
    for names in zip(*([job.file.name for job, _ in each.timed] for each in (fake.a, fake.b)), strict=True):
        assert len(set(names)) == 1


def test_what_only_one_bundle_has_is_left_out_and_told(tmp_path: Path) -> None:
    fp16 = bundles.artifact("fp16")
    first = bundle(tmp_path / "a.edgepack", FP32, INT8, fp16, content=" of a")
    second = bundle(tmp_path / "b.edgepack", bundles.artifact("bf16"), INT8, content=" of b")
    fake = TwoBundles(a=answering(int8=STEADY), b=answering(int8=STEADY))
    progress = RecordingProgress()
    reports = in_turn((first, second), fake, progress)
    assert progress.said == [
        f"left out, for only {first.path} has them: fp32.onnx, fp16.onnx",
        f"left out, for only {second.path} has it: bf16.onnx",
    ]
    assert [[artifact.name for artifact in report.artifacts] for report in reports] == [["int8.onnx"]] * 2
    compared = compare(*reports, Limits())
    assert ([artifact.word for artifact in compared.artifacts], compared.missing) == (["equivalent"], ())


def test_bundles_without_a_name_in_common_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a.edgepack", FP32, INT8, content=" of a")
    second = bundle(tmp_path / "b.edgepack", bundles.artifact("bf16"), content=" of b")
    fake = TwoBundles(a=answering(), b=answering())
    with pytest.raises(UsageError) as caught:
        in_turn((first, second), fake)
    assert str(caught.value) == (
        f"{second.path}: no artifact of {first.path} has its name here: "
        "fp32.onnx, int8.onnx there, bf16.onnx here\n  try: pack both with artifacts of the same names"
    )
    assert (fake.a.answered, fake.b.answered) == ([], [])


def test_what_cannot_be_timed_in_one_bundle_is_not_timed_in_the_other(tmp_path: Path) -> None:
    pair = (bundle(tmp_path / "a.edgepack", content=" of a"), bundle(tmp_path / "b.edgepack", content=" of b"))
    void = Script(logits=logits() * np.float32(np.nan))
    fake = TwoBundles(a=answering(fp32=STEADY, int8=STEADY), b=answering(fp32=void, int8=STEADY))
    first, second = in_turn(pair, fake)
    assert {job.file.name for each in (fake.a, fake.b) for job, _ in each.timed} == {"int8.onnx"}
    alone = first.artifacts[0]
    assert [(reason.code, reason.level, reason.detail) for reason in alone.reasons] == [
        ("no-counterpart", "note", "its time was not taken, for that in the other bundle cannot be")
    ]
    assert (alone.latency, alone.accuracy is not None) == (None, True)
    for report in (first, second):
        assert verify.contradictions(report) == ()
        assert read(codec.write_json(report), "report.json") == report


def test_bundles_of_other_samples_are_refused_before_anything_is_measured(tmp_path: Path) -> None:
    first = bundle(tmp_path / "a.edgepack", FP32, content=" of a")
    other = bundle(tmp_path / "b.edgepack", FP32, content=" of b", labels=np.roll(LABELS, 1))
    fake = TwoBundles(a=taking(*DRIFT), b=taking(*DRIFT))
    with pytest.raises(BundleError) as caught:
        in_turn((first, other), fake)
    assert str(caught.value) == (
        f"{other.path}: was packed with other evaluation samples than {first.path}: nothing could be compared\n"
        "  try: pack both with the same data"
    )
    assert fake.a.answered == []
