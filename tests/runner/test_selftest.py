"""Pairs of sessions whose times are drawn: rates, their intervals, the floor, and that what is there is found."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from runner import codec, noise, selftest
from runner.arrays import ArrayLocation
from runner.compare.comparison import Word
from runner.device.monitor import Monitor
from runner.errors import MeasurementError
from runner.measure.rounds import Course, Instruments
from runner.operators import OperatorTime
from runner.process import Usage
from runner.progress import Advance
from runner.render.page import as_markdown, as_text
from runner.render.selftest import selftest_page
from runner.report import Scenario
from runner.runtimes import Options
from runner.selftest import BLOCKS, SESSION, SLOWDOWNS, Kind, Rate, SelfTest, not_to_remember, remembered
from runner.worker.order import Job, Timing
from runner.workers import Answered, Timed, ignore_window
from tests import networks, reports
from tests.fakes import FakeWorkers, RecordingProgress, Script, calm

SAMPLES = 40
LOGITS = np.eye(3, dtype=np.float32)[np.arange(SAMPLES) % 3]
USAGE = Usage(began_ns=0, ended_ns=10**9, major_faults=0, involuntary_switches=0, cpu_ns=10**9, swap_bytes=0)
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
    dies: Collection[int] = ()
    """The numbers of the processes that do."""
    interrupted: int | None = None
    """The number of the process in which Ctrl-C is pressed."""
    began: int = 0
    major_faults: Mapping[int, int] = field(default_factory=dict)
    """By the number of the process."""
    timed: list[Timing] = field(default_factory=list)
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(4))
    level: float = 1.0

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the logits of every sample."""
        return FakeWorkers({"net.onnx": Script(logits=LOGITS)}).answer(job, advance)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return drawn times, longer by what is injected."""
        number = self.began
        self.began += 1
        if number == self.interrupted:
            raise KeyboardInterrupt
        if number in self.dies:
            raise MeasurementError("the worker was ended by SIGKILL", advice="more memory")
        if len(self.timed) % self.session == 0:
            self.level = float(np.exp(self.chance.normal(0, self.session_spread)))
        self.timed.append(timing)
        median_ns = round(1_000_000 * self.level * float(np.exp(self.chance.normal(0, self.process_spread))))
        timed = FakeWorkers({"net.onnx": Script(logits=LOGITS, medians_ns=(median_ns,))}).time(job, timing, window)
        usage = replace(USAGE, major_faults=self.major_faults.get(number, 0))
        return replace(timed, process=replace(timed.process, usage=usage))

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return scripted operators."""
        return FakeWorkers({"net.onnx": Script(logits=LOGITS)}).profile(job, seed)


APPLIED = 0.1


def measured(workers: NoisyWorkers, pairs: tuple[int, int, int]) -> tuple[SelfTest, RecordingProgress]:
    """Run the self-test on a machine without sensors, taken to have a noise floor of 10 %."""
    progress = RecordingProgress()
    tools = Instruments(workers=workers, watch=lambda: Monitor(root=Path("/nowhere")), gate=calm())
    return selftest.selftest(course(), reports.device(), APPLIED, pairs, tools, progress), progress


@pytest.fixture(scope="module")
def quiet() -> SelfTest:
    """Test a machine whose processes differ by 0.4 % and whose sessions do not."""
    return measured(NoisyWorkers(process_spread=0.004), (8, 4, 4))[0]


def test_every_kind_of_pair_is_measured_as_often_as_was_asked_for(quiet: SelfTest) -> None:
    assert quiet.floor is not None
    kinds = [(rate.interleaved, rate.slowdown, rate.floor, len(rate.words), len(rate.ratios)) for rate in quiet.rates]
    assert kinds == [
        (False, 0.0, 0.0, 8, 8),
        (False, 0.0, APPLIED, 8, 8),
        *((False, 0.03, floor, 4, 4) for floor in (0.0, APPLIED, quiet.floor)),
        *((False, 0.05, floor, 4, 4) for floor in (0.0, APPLIED, quiet.floor)),
        (True, 0.0, 0.0, 8, 8),
        (True, 0.03, 0.0, 4, 4),
        (True, 0.05, 0.0, 4, 4),
    ]
    assert (quiet.device, quiet.artifact, quiet.threads, quiet.applied) == ("Example CPU", "int8.onnx", 2, APPLIED)
    assert quiet.complete
    assert [rate.lost for rate in quiet.rates] == [0] * 11


def test_on_a_quiet_machine_what_is_there_is_found_and_nothing_else(quiet: SelfTest) -> None:
    found = {(rate.interleaved, rate.slowdown): rate.found for rate in quiet.rates if not rate.floor}
    assert (found[False, 0.0], found[True, 0.0]) == (0, 0)
    assert (found[False, 0.05], found[True, 0.05]) == (4, 4)
    assert found[True, 0.03] >= 3
    assert "equivalent" in quiet.rates[0].words
    for rate in quiet.rates:
        assert np.mean(rate.ratios) == pytest.approx(1 + rate.slowdown, abs=0.004)


def test_what_the_floor_of_compare_may_hide_is_inconclusive_and_never_equivalent(quiet: SelfTest) -> None:
    floored = [rate for rate in quiet.rates if rate.floor == APPLIED]
    assert [rate.slowdown for rate in floored] == [0.0, *SLOWDOWNS]
    assert {word for rate in floored for word in rate.words} == {"inconclusive"}


def test_beyond_the_floor_of_this_very_run_a_slowdown_is_found_again(quiet: SelfTest) -> None:
    (own,) = (rate for rate in quiet.rates if rate.floor == quiet.floor and rate.slowdown == 0.05)
    assert own.words == ("slower",) * 4
    assert not [rate for rate in quiet.rates if rate.floor == quiet.floor and not rate.slowdown]


def test_a_floor_that_is_as_large_as_that_of_compare_is_judged_with_once() -> None:
    assert [rate.floor for rate in _all_rates(Kind(interleaved=False, slowdown=0.05, asked=1), 0.1, 0.1)] == [0.0, 0.1]
    assert [rate.floor for rate in _all_rates(Kind(interleaved=False, slowdown=0.05, asked=1), 0.1, None)] == [0.0, 0.1]


def _all_rates(kind: Kind, applied: float, own: float | None) -> list[Rate]:
    return list(selftest.rates(kind, applied, own))


def test_the_rate_has_its_exact_interval(quiet: SelfTest) -> None:
    for rate in quiet.rates:
        expected = stats.binomtest(rate.found, len(rate.words)).proportion_ci(0.95, "exact")
        assert (rate.interval.low, rate.interval.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
        assert (rate.interval.confidence, rate.interval.method) == (0.95, "Clopper-Pearson")


def test_the_floor_is_the_largest_difference_of_two_separate_sessions_with_nothing_changed(quiet: SelfTest) -> None:
    unchanged = quiet.rates[0]
    assert quiet.floor is not None
    assert quiet.floor == max(max(ratio, 1 / ratio) - 1 for ratio in unchanged.ratios)
    assert 0 < quiet.floor < 0.01


def test_sessions_that_differ_show_in_the_floor_and_not_where_they_take_turns() -> None:
    found, _ = measured(NoisyWorkers(process_spread=0.002, session_spread=0.04), (6, 1, 1))
    assert found.floor is not None
    assert found.floor > 0.02
    assert found.rates[0].found > 0
    # Where every round of two has a level of its own, both sides of it meet the same.
    even, _ = measured(NoisyWorkers(process_spread=0.002, session_spread=0.04, session=2), (6, 3, 3))
    assert (even.rates[-3].found, even.rates[-1].found) == (0, 3)


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


def test_a_process_that_dies_is_made_up_for() -> None:
    found, _ = measured(NoisyWorkers(process_spread=0.004, dies={1, 32}), (1, 1, 1))
    assert [(rate.lost, len(rate.words)) for rate in found.rates] == [(0, 1)] * len(found.rates)


def test_a_pair_whose_processes_die_is_counted_as_lost_and_the_test_goes_on() -> None:
    # Three processes of the first session, which ends it, and of what takes turns the first three of both sides.
    first_in_turn = 4 + 3 * 10
    in_turn = range(first_in_turn, first_in_turn + 6)
    found, progress = measured(NoisyWorkers(process_spread=0.004, dies={1, 2, 3, *in_turn}), (2, 1, 1))
    assert [(rate.lost, len(rate.words)) for rate in found.rates] == [
        *[(1, 1)] * 2,
        *[(0, 1)] * 6,
        (1, 1),
        *[(0, 1)] * 2,
    ]
    assert found.complete
    assert found.floor == max(found.rates[0].ratios[0], 1 / found.rates[0].ratios[0]) - 1
    assert progress.tasks == [("selftest", 8, 8)]


def test_two_sides_without_a_common_round_are_a_lost_pair() -> None:
    # The first three processes of both sides, which ends both.
    found, _ = measured(NoisyWorkers(process_spread=0.004, dies=range(30, 36)), (1, 1, 1))
    assert [(rate.interleaved, rate.slowdown) for rate in found.rates if rate.lost] == [(True, 0.0)]
    assert [len(rate.words) for rate in found.rates if rate.interleaved] == [0, 1, 1]


def test_three_lost_pairs_in_a_row_end_the_test_with_the_reason_and_the_advice() -> None:
    workers = NoisyWorkers(process_spread=0.0, dies=range(9, 1000))
    with pytest.raises(MeasurementError) as caught:
        measured(workers, (3, 3, 3))
    assert caught.value.what == (
        "3 pairs in a row were lost: int8.onnx: too many worker processes died: "
        + "; ".join(["the worker was ended by SIGKILL"] * 3)
    )
    assert caught.value.advice == "more memory"


def test_interrupted_it_tells_what_was_whole_by_then() -> None:
    found, progress = measured(NoisyWorkers(process_spread=0.004, interrupted=34), (2, 2, 2))
    assert [(rate.slowdown, len(rate.words)) for rate in found.rates if rate.words] == [
        *[(0.0, 2)] * 2,
        *[(0.03, 1)] * 3,
    ]
    assert (found.complete, progress.tasks) == (False, [("selftest", 12, 3)])
    assert not_to_remember(found) == "the self-test was interrupted"
    assert "Incomplete: the self-test was interrupted" in as_text(selftest_page(found))
    assert codec.read_json(SelfTest, codec.write_json(found)) == found


def test_interrupted_before_the_first_pair_it_has_no_floor() -> None:
    found, _ = measured(NoisyWorkers(process_spread=0.004, interrupted=3), (2, 2, 2))
    assert (found.floor, [rate.words for rate in found.rates]) == (None, [()] * 9)
    text = as_text(selftest_page(found))
    assert "No pair of sessions was whole.\n" in text
    assert "Noise floor between two separate sessions: not known, for no pair of them was whole." in text
    assert codec.read_json(SelfTest, codec.write_json(found)) == found


def test_answers_that_change_while_it_is_timed_end_the_test() -> None:
    other = replace(course(), answers=LOGITS[:, ::-1].copy())
    tools = Instruments(
        workers=NoisyWorkers(process_spread=0.004), watch=lambda: Monitor(root=Path("/nowhere")), gate=calm()
    )
    with pytest.raises(MeasurementError, match=r"^int8\.onnx: while it was timed it gave other answers than before"):
        selftest.selftest(other, reports.device(), APPLIED, (1, 1, 1), tools, RecordingProgress())


def test_what_is_remembered_is_the_floor_and_what_it_rests_on(quiet: SelfTest) -> None:
    assert quiet.floor is not None
    assert remembered(quiet, reports.device()) == noise.NoiseFloor(
        device="Example CPU", floor=quiet.floor, pairs=8, threads=2, created=quiet.created
    )


def test_a_floor_of_few_pairs_is_not_to_be_remembered(quiet: SelfTest) -> None:
    few = "fewer than 10 pairs may have met a quiet hour"
    assert not_to_remember(quiet) == few
    unchanged = replace(quiet.rates[0], ratios=(1.0,) * 10, words=("equivalent",) * 10)
    assert not_to_remember(replace(quiet, rates=(unchanged,))) is None
    assert not_to_remember(replace(quiet, rates=(unchanged,), floor=None)) == few


def test_a_floor_from_a_machine_that_was_disturbed_is_told_and_not_to_be_remembered() -> None:
    # 10 unchanged pairs of 2 x 5 processes, then two slowed ones, and 10 in turn.
    workers = NoisyWorkers(process_spread=0.004, major_faults={7: 3, 42: 12, 101: 99, 125: 1})
    found, _ = measured(workers, (10, 1, 1))
    (reason,) = found.reasons
    told = "12 pages came from the disk in a timed window, in 3 of 340 processes"
    assert (reason.code, reason.level, reason.detail) == ("major-faults", "invalid", told)
    assert not_to_remember(found) == told
    assert not_to_remember(replace(found, reasons=(replace(reason, level="caveat"),))) is None
    flat = " ".join(as_text(selftest_page(found)).split())
    assert (
        "Seen of the machine, and in the sessions with nothing injected: "
        f"invalid: {told}; try: more free memory, or a faster disk"
    ) in flat
    assert codec.read_json(SelfTest, codec.write_json(found)) == found


def test_a_floor_of_an_emulated_machine_is_not_to_be_remembered() -> None:
    tools = Instruments(
        workers=NoisyWorkers(process_spread=0.004), watch=lambda: Monitor(root=Path("/nowhere")), gate=calm()
    )
    emulated = replace(reports.device(), emulated="cpuinfo has vendor_id")
    found = selftest.selftest(course(), emulated, APPLIED, (10, 1, 1), tools, RecordingProgress())
    assert [reason.code for reason in found.reasons] == ["emulated"]
    assert not_to_remember(found) == (
        "this machine is emulated (cpuinfo has vendor_id): latency means nothing, answers are still worth something"
    )


def test_what_is_kept_of_an_hour_does_not_grow_with_the_samples() -> None:
    kind = Kind(interleaved=False, slowdown=0.0, asked=1)
    tools = Instruments(
        workers=NoisyWorkers(process_spread=0.004), watch=lambda: Monitor(root=Path("/nowhere")), gate=calm()
    )
    selftest.add_pair(course(), kind, 0, tools)
    assert {(process.samples_ns, process.warmup_ns) for process in kind.processes} == {((), ())}
    assert [len(side) for side in kind.pairs[0]] == [5, 5]


def test_it_comes_out_of_its_json_as_it_went_in(quiet: SelfTest) -> None:
    assert codec.read_json(SelfTest, codec.write_json(quiet)) == quiet


def test_the_page_has_a_row_for_every_kind_and_rule() -> None:
    slower = Rate(interleaved=False, slowdown=0.05, ratios=(1.049, 1.052), words=("slower", "faster"), lost=1)
    rates = (
        Rate(interleaved=False, slowdown=0.0, ratios=(0.98, 1.021), words=("equivalent", "inconclusive"), lost=1),
        slower,
        replace(slower, floor=0.1, words=("inconclusive", "inconclusive")),
        Rate(interleaved=True, slowdown=0.05, ratios=(1.049, 1.052), words=("slower", "slower")),
        Rate(interleaved=True, slowdown=0.03, ratios=(), words=()),
    )
    whole = SelfTest(
        device="Example CPU",
        artifact="int8.onnx",
        threads=2,
        created="2026-11-01T12:00:00+00:00",
        rates=rates,
        applied=0.1,
        floor=0.021,
    )
    text = as_text(selftest_page(whole), str, 120)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert text.startswith("How well Example CPU can be measured\n")
    assert max(map(len, text.splitlines())) <= 120
    head = "sessions injected noise floor pairs found equivalent inconclusive rate 95 % interval ratios"
    assert lines[2] == head
    assert lines[4:8] == [
        "separate nothing none 2 0 1 1 0 % 0.0 % to 84.2 % 0.980x to 1.021x",
        "separate +5.00 % none 2 1 0 0 50 % 1.3 % to 98.7 % 1.049x to 1.052x",
        "separate +5.00 % 10.00 % 2 0 0 2 0 % 0.0 % to 84.2 % 1.049x to 1.052x",
        "in turn +5.00 % none 2 2 0 0 100 % 15.8 % to 100.0 % 1.049x to 1.052x",
    ]
    flat = " ".join(lines)
    assert "+3.00 %" not in text
    assert "what such a floor may hide is inconclusive, never equivalent." in flat
    assert "`compare` went by a floor of 10.00 % until now" in flat
    assert "2 pairs were lost, for too many of the worker processes died." in flat
    assert "1 pair with a slow-down injected was called faster." in flat
    assert "Noise floor between two separate sessions: 2.10 %." in flat
    assert "int8.onnx, 2 threads." in flat
    assert "It holds for sessions with 2 threads that follow each other;" in flat
    assert "Incomplete" not in flat
    assert as_markdown(selftest_page(whole)).startswith("### How well Example CPU can be measured\n")
