"""Pairs of sessions whose times are drawn: rates, their intervals, the floor, and that what is there is found."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from runner import codec, noise, selftest
from runner.compare.comparison import Word
from runner.device.monitor import Monitor
from runner.errors import MeasurementError
from runner.measure.rounds import Course, Instruments
from runner.measure.workers import Answered, Timed, ignore_window
from runner.operators import OperatorTime
from runner.progress import Advance
from runner.render.page import as_markdown, as_text
from runner.render.selftest import selftest_page
from runner.report import Scenario
from runner.runtimes import Options
from runner.selftest import BLOCKS, SESSION, SLOWDOWNS, Rate, SelfTest, remembered
from runner.worker.order import ArrayLocation, Job, Timing
from tests import networks, reports
from tests.fakes import FakeWorkers, RecordingProgress, Script, calm

SAMPLES = 40
LOGITS = np.eye(3, dtype=np.float32)[np.arange(SAMPLES) % 3]
JOB = Job(
    file=Path("net.onnx"),
    format="onnx",
    options=Options(threads=2),
    inputs=ArrayLocation(path=Path("inputs.bin"), offset=0, shape=(SAMPLES, 1, 8, 8), dtype="|u1"),
    preprocess=networks.PREPROCESS,
)


def course() -> Course:
    """Return what is timed again and again."""
    return Course(name="int8.onnx", job=JOB, scenario=Scenario(threads=2), answers=LOGITS)


@dataclass
class NoisyWorkers:
    """Draw the times of a machine: seeded, with a spread of its own between processes and between sessions."""

    process_spread: float
    session_spread: float = 0.0
    session: int = SESSION.processes
    """So many processes are one."""
    dies: bool = False
    timed: list[Timing] = field(default_factory=list)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(4))
    level: float = 1.0

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the logits of every sample."""
        return FakeWorkers({"net.onnx": Script(logits=LOGITS)}).answer(job, advance)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return drawn times, longer by what is injected."""
        if self.dies:
            raise MeasurementError("the worker was ended by SIGKILL")
        if len(self.timed) % self.session == 0:
            self.level = float(np.exp(self.chance.normal(0, self.session_spread)))
        self.timed.append(timing)
        median_ns = round(1_000_000 * self.level * float(np.exp(self.chance.normal(0, self.process_spread))))
        return FakeWorkers({"net.onnx": Script(logits=LOGITS, medians_ns=(median_ns,))}).time(job, timing, window)

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return scripted operators."""
        return FakeWorkers({"net.onnx": Script(logits=LOGITS)}).profile(job, seed)


def measured(workers: NoisyWorkers, pairs: tuple[int, int, int]) -> tuple[SelfTest, RecordingProgress]:
    """Run the self-test on a machine without sensors."""
    progress = RecordingProgress()
    tools = Instruments(workers=workers, watch=lambda: Monitor(root=Path("/nowhere")), gate=calm())
    return selftest.selftest(course(), reports.device(), pairs, tools, progress), progress


@pytest.fixture(scope="module")
def quiet() -> SelfTest:
    """Test a machine whose processes differ by 0.4 % and whose sessions do not."""
    return measured(NoisyWorkers(process_spread=0.004), (8, 4, 4))[0]


def test_every_kind_of_pair_is_measured_as_often_as_was_asked_for(quiet: SelfTest) -> None:
    kinds = [(rate.interleaved, rate.slowdown, len(rate.words), len(rate.ratios)) for rate in quiet.rates]
    assert kinds == [
        (False, 0.0, 8, 8),
        (False, 0.03, 4, 4),
        (False, 0.05, 4, 4),
        (True, 0.0, 8, 8),
        (True, 0.03, 4, 4),
        (True, 0.05, 4, 4),
    ]
    assert (quiet.device, quiet.artifact, quiet.threads) == ("Example CPU", "int8.onnx", 2)


def test_on_a_quiet_machine_what_is_there_is_found_and_nothing_else(quiet: SelfTest) -> None:
    found = {(rate.interleaved, rate.slowdown): rate.found for rate in quiet.rates}
    assert (found[False, 0.0], found[True, 0.0]) == (0, 0)
    assert (found[False, 0.05], found[True, 0.05]) == (4, 4)
    assert found[True, 0.03] >= 3
    for rate in quiet.rates:
        assert np.mean(rate.ratios) == pytest.approx(1 + rate.slowdown, abs=0.004)


def test_the_rate_has_its_exact_interval(quiet: SelfTest) -> None:
    for rate in quiet.rates:
        expected = stats.binomtest(rate.found, len(rate.words)).proportion_ci(0.95, "exact")
        assert (rate.interval.low, rate.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert (rate.interval.confidence, rate.interval.method) == (0.95, "Clopper-Pearson")


def test_the_floor_is_the_largest_difference_of_two_separate_sessions_with_nothing_changed(quiet: SelfTest) -> None:
    unchanged = quiet.rates[0]
    assert quiet.floor == max(max(ratio, 1 / ratio) - 1 for ratio in unchanged.ratios)
    assert 0 < quiet.floor < 0.01


def test_sessions_that_differ_show_in_the_floor_and_not_where_they_take_turns() -> None:
    found, _ = measured(NoisyWorkers(process_spread=0.002, session_spread=0.04), (6, 1, 1))
    assert found.floor > 0.02
    assert found.rates[0].found > 0
    # Where every round of two has a level of its own, both sides of it meet the same.
    even, _ = measured(NoisyWorkers(process_spread=0.002, session_spread=0.04, session=2), (6, 3, 3))
    assert (even.rates[3].found, even.rates[5].found) == (0, 3)


@pytest.mark.parametrize(
    ("slowdown", "words", "found"),
    [
        (0.0, ("faster", "slower", "equivalent", "inconclusive"), 2),
        (0.05, ("faster", "slower", "equivalent", "inconclusive"), 1),
    ],
)
def test_only_the_right_word_counts_as_found(slowdown: float, words: tuple[Word, ...], found: int) -> None:
    assert Rate(interleaved=False, slowdown=slowdown, ratios=(1.0,) * 4, words=words).found == found


def test_sessions_are_short_and_whole_and_their_seeds_are_their_own() -> None:
    workers = NoisyWorkers(process_spread=0.004)
    _, progress = measured(workers, (2, 1, 1))
    separate, in_turn = workers.timed[: 4 * 2 * 5], workers.timed[4 * 2 * 5 :]
    assert len(in_turn) == 4 * 2 * BLOCKS
    assert [timing.slowdown for timing in separate] == [0.0] * 25 + [0.03] * 5 + [0.0] * 5 + [0.05] * 5
    assert {timing.slowdown for timing in in_turn} == {0.0, *SLOWDOWNS}
    # Two sessions of a pair draw other samples, and what takes turns the same in every round.
    assert len({timing.seed for timing in separate[:20]}) == 20
    assert [len({timing.seed for timing in in_turn[first : first + 2]}) for first in range(0, len(in_turn), 2)] == [
        1
    ] * 48
    assert progress.tasks == [("selftest", 8, 8)]


def test_workers_that_die_end_the_test_with_the_reason() -> None:
    with pytest.raises(MeasurementError) as caught:
        measured(NoisyWorkers(process_spread=0.0, dies=True), (1, 1, 1))
    assert caught.value.what == (
        "int8.onnx: too many worker processes died: " + "; ".join(["the worker was ended by SIGKILL"] * 3)
    )


def test_answers_that_change_while_it_is_timed_end_the_test() -> None:
    other = replace(course(), answers=LOGITS[:, ::-1].copy())
    tools = Instruments(
        workers=NoisyWorkers(process_spread=0.004), watch=lambda: Monitor(root=Path("/nowhere")), gate=calm()
    )
    with pytest.raises(MeasurementError, match=r"^int8\.onnx: while it was timed it gave other answers than before"):
        selftest.selftest(other, reports.device(), (1, 1, 1), tools, RecordingProgress())


def test_what_is_remembered_is_the_floor_and_what_it_rests_on(quiet: SelfTest) -> None:
    assert remembered(quiet, reports.device()) == noise.NoiseFloor(
        device="Example CPU", floor=quiet.floor, pairs=8, threads=2, created=quiet.created
    )


def test_it_comes_out_of_its_json_as_it_went_in(quiet: SelfTest) -> None:
    assert codec.read_json(SelfTest, codec.write_json(quiet)) == quiet


def test_the_page_has_a_row_for_every_kind() -> None:
    rates = (
        Rate(interleaved=False, slowdown=0.0, ratios=(0.98, 1.021), words=("equivalent", "inconclusive")),
        Rate(interleaved=True, slowdown=0.05, ratios=(1.049, 1.052), words=("slower", "slower")),
        Rate(interleaved=True, slowdown=0.03, ratios=(), words=()),
    )
    whole = SelfTest(
        device="Example CPU",
        artifact="int8.onnx",
        threads=2,
        created="2026-11-01T12:00:00+00:00",
        rates=rates,
        floor=0.021,
    )
    text = as_text(selftest_page(whole), str, 120)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert text.startswith("How well Example CPU can be measured\n")
    assert "separate nothing 2 0 0 % 0.0 % to 84.2 % 0.980x to 1.021x" in lines
    assert "in turn +5.00 % 2 2 100 % 15.8 % to 100.0 % 1.049x to 1.052x" in lines
    assert "+3.00 %" not in text
    assert "Noise floor between two separate sessions: 2.10 %." in text
    assert "int8.onnx, 2 threads." in text
    assert as_markdown(selftest_page(whole)).startswith("### How well Example CPU can be measured\n")
