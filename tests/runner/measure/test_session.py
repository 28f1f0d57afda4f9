"""What becomes of a session: its scenarios, what is kept on the way, and what a throttled board voids."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from runner import codec, verify
from runner.compare import compare
from runner.compare.comparison import Limits
from runner.device.monitor import Monitor
from runner.errors import MeasurementError, UsageError
from runner.facts import DeviceFacts
from runner.measure import run
from runner.measure.latency import Plan
from runner.measure.rounds import Instruments
from runner.operators import OperatorTime
from runner.progress import Advance
from runner.render import report_page
from runner.render.page import as_text
from runner.report import Effort, Latency, Report, Scenario, Settings
from runner.report_reader import read
from runner.worker.order import Job, Timing
from runner.workers import Answered, Timed, Workers, ignore_window
from tests import bundles
from tests.fakes import FakeWorkers, RecordingProgress, Script, calm, quiet
from tests.runner.device.test_monitor import board
from tests.runner.measure.scripted import FP32, bench, bundle, logits, workers

SETTINGS = Settings(threads=1)
PRODUCT = Settings(
    threads=1,
    batch=1,
    more=(Scenario(threads=1, batch=8), Scenario(threads=2, batch=1), Scenario(threads=2, batch=8)),
)
MEDIANS = {"fp32.onnx": (200_000,), "int8.onnx": (90_000,)}


def scenario(found: Latency) -> tuple[int | None, int, int]:
    """Return how the calls were made: threads, batch, streams."""
    return (found.threads, found.batch, found.streams)


def codes(report: Report, name: str) -> list[tuple[str, str]]:
    """Return the reasons of an artifact."""
    found = report.artifact(name)
    assert found is not None
    return [(reason.code, reason.level) for reason in found.reasons]


def test_the_first_scenario_is_the_latency_and_the_others_stand_beside_it(tmp_path: Path) -> None:
    fake = workers(MEDIANS)
    report = run(bundle(tmp_path / "net.edgepack"), PRODUCT, bench=bench(fake))
    for artifact in report.artifacts:
        assert artifact.latency is not None
        assert scenario(artifact.latency) == (1, 1, 1)
        assert [scenario(each) for each in artifact.scenarios] == [(1, 8, 1), (2, 1, 1), (2, 8, 1)]
        assert [len(each.processes) for each in artifact.scenarios] == [5] * 3
        assert artifact.scenarios[0].throughput_per_s == 8 * artifact.latency.throughput_per_s
    assert [(job.options.threads, job.batch) for job in fake.answered] == [(1, 1)] * 2
    assert len(fake.timed) == 2 * 4 * 5
    assert (report.status, report.fastest) == ("valid", "int8.onnx")
    assert read(codec.write_json(report), "report.json") == report


def test_several_streams_are_a_scenario_of_more_throughput(tmp_path: Path) -> None:
    fake = workers(MEDIANS)
    settings = Settings(threads=1, streams=2, more=(Scenario(threads=1, streams=4),))
    report = run(bundle(tmp_path / "net.edgepack", FP32), settings, bench=bench(fake))
    (artifact,) = report.artifacts
    assert artifact.latency is not None
    assert [scenario(each) for each in (artifact.latency, *artifact.scenarios)] == [(1, 1, 2), (1, 1, 4)]
    assert [each.throughput_per_s for each in (artifact.latency, *artifact.scenarios)] == [10_000.0, 20_000.0]
    assert {timing.streams for _, timing in fake.timed} == {2, 4}


def test_an_artifact_of_one_sample_at_a_time_keeps_that_batch_and_says_why(tmp_path: Path) -> None:
    fixed = bundles.artifact("int8", dynamic_batch=False)
    settings = replace(PRODUCT, more=(*PRODUCT.more, Scenario(threads=1, batch=32)))
    report = run(bundle(tmp_path / "net.edgepack", FP32, fixed), settings, bench=bench(workers(MEDIANS)))
    found = report.artifact("int8.onnx")
    assert found is not None
    assert found.latency is not None
    assert [scenario(each) for each in (found.latency, *found.scenarios)] == [(1, 1, 1), (2, 1, 1)]
    (reason,) = found.reasons
    assert (reason.code, reason.level, reason.advice) == ("fixed-batch", "note", "--batch 1")
    assert reason.detail == (
        "takes one sample at a time, and a batch of 8 and 32 was asked for: its time was not taken"
    )
    assert (report.status, report.fastest) == ("valid", "int8.onnx")


def test_a_first_batch_that_an_artifact_cannot_take_leaves_it_the_others(tmp_path: Path) -> None:
    fixed = bundles.artifact("int8", dynamic_batch=False)
    settings = Settings(threads=1, batch=8, more=(Scenario(threads=1, batch=1),))
    report = run(bundle(tmp_path / "net.edgepack", FP32, fixed), settings, bench=bench(workers(MEDIANS)))
    found = report.artifact("int8.onnx")
    assert found is not None
    assert (found.latency, found.peak_bytes) == (None, None)
    assert [scenario(each) for each in found.scenarios] == [(1, 1, 1)]
    assert (report.fastest, verify.contradictions(report)) == ("fp32.onnx", ())


def test_the_batch_of_every_scenario_is_held_against_the_samples(tmp_path: Path) -> None:
    settings = Settings(threads=1, more=(Scenario(threads=1, batch=41),))
    with pytest.raises(UsageError, match="batch: expected 1 to 40, the samples that there are, got 41"):
        run(bundle(tmp_path / "net.edgepack"), settings, bench=bench(workers(MEDIANS)))


def test_what_happened_in_another_scenario_is_told_with_its_name(tmp_path: Path) -> None:
    fake = FakeWorkers({"fp32.onnx": Script(logits=logits(), medians_ns=(200_000, 200_000, 200_000, 200_000, 300_000))})
    settings = Settings(threads=1, more=(Scenario(threads=2, batch=8, streams=2),))
    report = run(bundle(tmp_path / "net.edgepack", FP32), settings, bench=bench(fake))
    (found,) = report.artifacts[0].scenarios
    assert [reason.detail for reason in found.reasons] == ["the processes' medians lie between 200 and 300 us"]
    line = "fp32.onnx, 2 threads, batch 8, 2 streams: caveat: the processes' medians lie between 200 and 300 us"
    assert line in as_text(report_page(report), width=200)


@dataclass(kw_only=True)
class Frail(FakeWorkers):
    """Workers of which some die, by the batch and their number in it."""

    scripts: Mapping[str, Script] = field(kw_only=False)
    deaths: Mapping[int, Sequence[int]]
    started: Counter[int] = field(default_factory=Counter)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Die, or return scripted times."""
        number = self.started[job.batch]
        self.started[job.batch] += 1
        if number in self.deaths.get(job.batch, ()):
            raise MeasurementError("out of memory", advice="fewer --threads")
        return super().time(job, timing, window)


def test_a_scenario_that_is_void_leaves_the_first_its_figures(tmp_path: Path) -> None:
    frail = Frail({"fp32.onnx": Script(logits=logits(), medians_ns=(200_000,))}, deaths={8: (4, 5, 6), 32: range(5)})
    settings = Settings(threads=1, more=(Scenario(threads=1, batch=8), Scenario(threads=1, batch=32)))
    report = run(bundle(tmp_path / "net.edgepack", FP32), settings, bench=bench(frail))
    (artifact,) = report.artifacts
    assert (report.status, report.fastest) == ("caveats", "fp32.onnx")
    assert [(reason.code, reason.level, reason.detail, reason.advice) for reason in artifact.reasons] == [
        ("no-latency", "caveat", "1 thread, batch 32: no worker process finished; out of memory", "fewer --threads")
    ]
    (eight,) = artifact.scenarios
    assert [(reason.code, reason.level) for reason in eight.reasons] == [("few-processes", "invalid")]
    assert verify.contradictions(report) == ()
    text = as_text(report_page(report), width=200)
    assert re.search(r"^fp32.onnx +1 +8 .* void$", text, re.MULTILINE)
    assert "fp32.onnx, 1 thread, batch 8: invalid: 4 worker processes finished, and a median needs 5" in text


def test_every_scenario_follows_from_its_record_and_a_figure_that_was_made_up_is_named(tmp_path: Path) -> None:
    report = run(bundle(tmp_path / "net.edgepack"), PRODUCT, bench=bench(workers(MEDIANS)))
    assert verify.contradictions(report) == ()
    fp32 = report.artifacts[0]
    forged = replace(fp32.scenarios[1], median_ns=1.0, streams=7)
    altered = replace(fp32, scenarios=(fp32.scenarios[0], forged, fp32.scenarios[2]))
    assert verify.contradictions(replace(report, artifacts=(altered, *report.artifacts[1:]))) == (
        "fp32.onnx: scenarios[1].median_ns: reported 1, the record gives 200000",
        "fp32.onnx: scenarios[1].throughput_per_s: reported 5000, the record gives 35000",
        "fp32.onnx: scenarios[1]: of 2 threads, batch 1, 7 streams, which the settings have not",
    )


def test_a_valid_report_is_kept_after_every_artifact_and_every_round(tmp_path: Path) -> None:
    kept: list[Report] = []
    source, still = bundle(tmp_path / "net.edgepack"), bench(workers(MEDIANS))
    last = run(source, SETTINGS, bench=replace(still, save=kept.append))
    assert [report.complete for report in kept] == [False] * 7
    assert last.complete
    for report in kept:
        assert read(codec.write_json(report), "report.json") == report
        assert verify.contradictions(report) == ()
    answered = [[artifact.accuracy is not None for artifact in report.artifacts] for report in kept]
    assert answered == [[True, False]] + [[True, True]] * 6
    timed = [
        [len(artifact.latency.processes) if artifact.latency else 0 for artifact in report.artifacts] for report in kept
    ]
    assert timed == [[0, 0], [0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [5, 5]]
    assert codes(kept[0], "int8.onnx") == codes(kept[1], "fp32.onnx") == [("interrupted", "note")]


def test_what_is_precise_is_kept_before_the_others_come_to_their_end(tmp_path: Path) -> None:
    kept: list[Report] = []
    fake = workers({"fp32.onnx": (200_000, 230_000), "int8.onnx": (90_000,)})
    plans: dict[Effort, Plan] = {"quick": Plan(processes=10, warmup_s=0, timed_s=0)}
    run(bundle(tmp_path / "net.edgepack"), SETTINGS, bench=replace(bench(fake), plans=plans, save=kept.append))
    stopped = [
        [artifact.latency.stopped if artifact.latency else None for artifact in report.artifacts] for report in kept
    ]
    going = [["interrupted", "interrupted"]] * 7 + [["interrupted", "precision"]] * 2
    assert stopped == [[None, None]] * 2 + going + [["budget", "precision"]]


def test_the_temperature_to_come_back_to_is_read_before_anything_is_answered(tmp_path: Path) -> None:
    fake, answered = workers(MEDIANS), list[int]()

    def tools(found: Workers) -> Instruments:
        answered.append(len(fake.answered))
        return quiet(found)

    run(bundle(tmp_path / "net.edgepack"), SETTINGS, bench=replace(bench(fake), instruments=tools))
    assert (answered, len(fake.answered)) == ([0], 2)


def test_between_rounds_that_are_short_nothing_is_kept(tmp_path: Path) -> None:
    kept: list[Report] = []
    seldom = replace(bench(workers(MEDIANS)), save=kept.append, save_every_s=3600.0)
    run(bundle(tmp_path / "net.edgepack"), SETTINGS, bench=seldom)
    assert [[artifact.latency is not None for artifact in report.artifacts] for report in kept] == [[False, False]] * 2


@pytest.mark.parametrize("floor", [None, 0.045])
def test_the_noise_floor_of_the_device_is_in_its_reports(tmp_path: Path, floor: float | None) -> None:
    report = run(bundle(tmp_path / "net.edgepack"), SETTINGS, bench=bench(workers(MEDIANS), floor=floor))
    assert report.noise_floor == floor


def test_the_noise_floor_is_that_of_the_first_scenarios_threads(tmp_path: Path) -> None:
    asked: list[int] = []

    def floor(facts: DeviceFacts, threads: int) -> float:
        asked.append(threads)
        return 0.01 * threads

    settings = replace(SETTINGS, threads=3, more=(Scenario(threads=1),))
    report = run(bundle(tmp_path / "net.edgepack"), settings, bench=replace(bench(workers(MEDIANS)), floor=floor))
    assert report.noise_floor == 0.03
    assert set(asked) == {3}


@dataclass
class Overheating:
    """Has a board slow itself down while one process is timed."""

    workers: FakeWorkers
    root: Path
    process: int
    """Its number, from 0."""

    def answer(self, job: Job, advance: Advance) -> Answered:
        """Return the scripted logits."""
        return self.workers.answer(job, advance)

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Return scripted times."""
        if len(self.workers.timed) == self.process:
            board(self.root, "40000\n")  # over again already, but remembered
        return self.workers.time(job, timing, window)

    def profile(self, job: Job, seed: int) -> tuple[OperatorTime, ...]:
        """Return scripted operators."""
        return self.workers.profile(job, seed)


def test_scenarios_that_want_more_cpus_than_there_are_are_warned_of_before_anything_runs(tmp_path: Path) -> None:
    progress, fake = RecordingProgress(), workers(MEDIANS)
    settings = Settings(threads=2, more=(Scenario(threads=4), Scenario(threads=1, streams=3)))  # of two CPUs
    run(bundle(tmp_path / "net.edgepack"), settings, progress=progress, bench=bench(fake))
    end = "more threads than the 2 CPUs that this machine lets us keep busy: they will wait for each other"
    assert progress.said == [
        f"4 threads, batch 1: {end}; try: --threads 2 --streams 1",
        f"1 thread, batch 1, 3 streams: {end}; try: --threads 2 --streams 1",
    ]


def test_a_throttle_bit_in_mid_run_voids_the_report_and_compare_withholds_its_times(tmp_path: Path) -> None:
    source, root, fake = bundle(tmp_path / "net.edgepack"), board(tmp_path / "board", "0\n"), workers(MEDIANS)
    cool = run(source, SETTINGS, bench=bench(workers(MEDIANS)))
    watched = replace(
        bench(fake),
        workers=Overheating(workers=fake, root=root, process=5),
        instruments=lambda found: Instruments(workers=found, watch=lambda: Monitor(root=root), gate=calm()),
    )
    hot = run(source, SETTINGS, bench=watched)
    victim = fake.timed[5][0].file.name
    (other,) = {"fp32.onnx", "int8.onnx"} - {victim}
    assert (cool.status, hot.status, hot.fastest) == ("valid", "invalid", other)
    assert (codes(hot, victim), codes(hot, other)) == ([("throttled", "invalid")], [])
    assert verify.contradictions(hot) == ()
    compared = compare(cool, hot, Limits(max_slowdown=0.5))
    found = {artifact.name: artifact for artifact in compared.artifacts}
    assert {verdict.artifact: verdict.judgement for verdict in compared.verdicts} == {
        victim: "undecided",
        other: "held",
    }
    assert (found[other].word, found[other].withheld) == ("inconclusive", ())
    assert (found[victim].word, found[victim].latency, found[victim].delta("latency").ratio) == (None, None, None)
    (withheld,) = found[victim].withheld
    assert withheld.code == "throttled"
    assert withheld.detail == (
        "no latency from the device: the board slowed itself down while it was timed (throttled), in 1 of 5 processes"
    )
    assert found[victim].answers is not None
