"""A report held against its own record: each figure that was made up is named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from runner import __version__, report_reader, verify
from runner.interval import Interval
from runner.measure import conditions, latency
from runner.process import Process, Usage
from runner.reason import Reason
from runner.report import Accuracy, ArtifactReport, Latency, Report, Scenario
from tests import reports

GOLDEN = Path(__file__).parent.parent / "golden"
TIMED = ("fp32.onnx", "int8.onnx")


def changed(change: Callable[[ArtifactReport], ArtifactReport]) -> Report:
    """Return a report, sealed again, in which the int8 artifact was changed."""
    return reports.with_artifact(reports.host(), change(int8()))


def int8() -> ArtifactReport:
    """Return the artifact that is changed: 39 of 40 right, medians of 58 to 62 µs."""
    return reports.host().artifacts[1]


def in_accuracy(**figures: float) -> Callable[[ArtifactReport], ArtifactReport]:
    """Return a change of the answers' figures."""

    def change(artifact: ArtifactReport) -> ArtifactReport:
        assert artifact.accuracy is not None
        accuracy: Accuracy = replace(artifact.accuracy, **figures)  # type: ignore[arg-type]
        return replace(artifact, accuracy=accuracy)

    return change


def in_latency(change_latency: Callable[[Latency], Latency]) -> Callable[[ArtifactReport], ArtifactReport]:
    """Return a change of the times."""

    def change(artifact: ArtifactReport) -> ArtifactReport:
        assert artifact.latency is not None
        return replace(artifact, latency=change_latency(artifact.latency))

    return change


def in_first_process(change_process: Callable[[Process], Process]) -> Callable[[ArtifactReport], ArtifactReport]:
    """Return a change of the first process's record."""
    return in_latency(lambda it: replace(it, processes=(change_process(it.processes[0]), *it.processes[1:])))


def interval(low: float) -> Interval:
    """Return the interval of the five processes with another lower end."""
    return Interval(low=low, high=62_000.0, confidence=0.9375, method="order statistics of the median")


def test_figures_that_follow_from_the_record_are_not_complained_of() -> None:
    for whole in (reports.host(), reports.board(), reports.complete()):
        assert verify.contradictions(whole) == ()


@pytest.mark.parametrize("schema", ["1.0", "1.1", "1.2", "1.3"])
def test_a_golden_report_of_every_schema_follows_from_its_record(schema: str) -> None:
    assert verify.contradictions(report_reader.load(GOLDEN / f"report-{schema}.json")) == ()


def test_a_figure_that_was_made_up_in_an_old_report_is_named() -> None:
    whole = report_reader.load(GOLDEN / "report-1.1.json")
    ran = whole.artifacts[0]
    assert ran.latency is not None
    forged = replace(ran, latency=replace(ran.latency, median_ns=1.0))
    assert verify.contradictions(replace(whole, artifacts=(forged, *whole.artifacts[1:]))) == (
        "int8.torchscript: latency.median_ns: reported 1, the record gives 60000",
    )


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (in_accuracy(samples=41), "int8.onnx: accuracy.samples: reported 41, the record gives 40"),
        (in_accuracy(top1=0.98), "int8.onnx: accuracy.top1: reported 0.98, the record gives 0.975"),
        (in_accuracy(top5=0.98), "int8.onnx: accuracy.top5: reported 0.98, the record gives 1"),
        (in_accuracy(loss=0.1), "int8.onnx: accuracy.loss: reported 0.1, the record gives 0.184375"),
        (in_accuracy(agreement=1.0), "int8.onnx: accuracy.agreement: reported 1, the record gives 0.975"),
        (
            in_accuracy(max_abs_difference=0.5),
            "int8.onnx: accuracy.identical_to_host: reported true, beside flips or a difference",
        ),
        (
            in_latency(lambda it: replace(it, median_ns=50_000.0)),
            "int8.onnx: latency.median_ns: reported 50000, the record gives 60000",
        ),
        (
            in_latency(lambda it: replace(it, interval=interval(59_000.0))),
            "int8.onnx: latency.interval.low: reported 59000, the record gives 58000",
        ),
        (
            in_latency(lambda it: replace(it, p95_ns=None)),
            "int8.onnx: latency.p95_ns: reported none, the record gives 62700",
        ),
        (
            in_latency(lambda it: replace(it, throughput_per_s=2e4)),
            "int8.onnx: latency.throughput_per_s: reported 20000, the record gives 16666.66667",
        ),
        (
            in_latency(lambda it: replace(it, load_ns=1.0)),
            "int8.onnx: latency.load_ns: reported 1, the record gives 5000000",
        ),
        (
            in_latency(lambda it: replace(it, first_ns=1.0)),
            "int8.onnx: latency.first_ns: reported 1, the record gives 180000",
        ),
        (lambda it: replace(it, peak_bytes=1), "int8.onnx.peak_bytes: reported 1, the record gives 50331648"),
    ],
)
def test_a_figure_that_was_made_up_is_named(change: Callable[[ArtifactReport], ArtifactReport], problem: str) -> None:
    assert verify.contradictions(changed(change)) == (problem,)


def test_a_disturbance_that_nobody_tells_is_named() -> None:
    usage = Usage(began_ns=0, ended_ns=1, major_faults=3, involuntary_switches=0, cpu_ns=1, swap_bytes=0)
    faulty = in_first_process(lambda it: replace(it, usage=usage))
    whole = reports.host()
    found = verify.contradictions(reports.with_artifact(whole, faulty(whole.artifacts[1])))
    assert found == (
        "int8.onnx: latency: the record gives the reason 'major-faults' (invalid), and it is not reported: 3 pages "
        "came from the disk in a timed window, in 1 of 5 processes",
    )


def of_two_processes(artifact: ArtifactReport) -> ArtifactReport:
    """Return an artifact whose other processes were taken out of the record, and its summary made anew."""
    assert artifact.latency is not None
    timings = replace(latency.timings(artifact.latency), processes=artifact.latency.processes[:2])
    return replace(artifact, latency=reports.summary(timings))


FEW = "the record gives the reason 'few-processes' (invalid), and it is {}: 2 worker processes finished, and a median "


def test_too_few_processes_that_nobody_tells_are_named() -> None:
    silent = changed(of_two_processes)
    assert silent.status == "valid"
    (problem,) = verify.contradictions(silent)
    assert problem == f"int8.onnx: latency: {FEW.format('not reported')}needs 5"
    mild = Reason(code="few-processes", level="caveat", detail="2 processes")
    (problem,) = verify.contradictions(changed(lambda it: replace(of_two_processes(it), reasons=(mild,))))
    assert problem == f"int8.onnx: latency: {FEW.format('reported as caveat')}needs 5"
    told = replace(mild, level="invalid")
    assert verify.contradictions(changed(lambda it: replace(of_two_processes(it), reasons=(told,)))) == ()


def test_the_rules_of_another_edgepack_are_its_own() -> None:
    older = replace(reports.host(), edgepack="0.0.9", fastest="int8.onnx")
    assert verify.contradictions(older) == ()
    assert verify.unproven(older).endswith("joules; and with rules of edgepack 0.0.9 the reasons and the fastest")
    assert verify.contradictions(replace(older, edgepack=__version__)) != ()


def test_the_reasons_of_another_scenario_are_its_own() -> None:
    told = Reason(code="few-processes", level="invalid", detail="2 processes")
    scenario = of_two_processes(int8()).latency
    assert scenario is not None
    settings = replace(reports.host().settings, more=(scenario.scenario,))
    elsewhere = changed(lambda it: replace(it, scenarios=(scenario,), reasons=(told,)))
    (problem,) = verify.contradictions(replace(elsewhere, settings=settings))
    assert problem == f"int8.onnx: scenarios[0]: {FEW.format('not reported')}needs 5"
    there = changed(lambda it: replace(it, scenarios=(replace(scenario, reasons=(told,)),)))
    assert verify.contradictions(replace(there, settings=settings)) == ()


def test_a_latency_of_another_scenario_than_was_asked_for_is_named() -> None:
    whole, scenario = reports.host(), Scenario(threads=4, batch=1)
    assert verify.contradictions(replace(whole, settings=replace(whole.settings, threads=4))) == tuple(
        f"{name}: latency: of 2 threads, batch 1, the settings say 4 threads, batch 1" for name in TIMED
    )
    other = replace(reports.timed([60_000] * 5), threads=scenario.threads)
    assert verify.contradictions(changed(lambda it: replace(it, scenarios=(other,)))) == (
        "int8.onnx: scenarios[0]: of 4 threads, batch 1, which the settings have not",
    )


@pytest.mark.parametrize(
    ("facts", "throttled", "problem"),
    [
        ({"emulated": "qemu"}, None, "'emulated' (invalid), and it is not reported: this machine is emulated (qemu): "),
        ({"virtual": "kvm"}, None, "'virtual' (caveat), and it is not reported: this is a kvm: "),
        ({"virtual": "container (lxc)"}, None, "'container' (note), and it is not reported: this is a container (lxc)"),
        ({"governor": "powersave"}, None, "'governor' (caveat), and it is not reported: the CPU frequency governor "),
        ({}, True, "'throttled' (invalid), and it is not reported: the board says before the measurement that heat "),
    ],
)
def test_what_the_facts_and_the_state_say_of_the_machine_has_to_be_reported(
    facts: dict[str, str], throttled: bool | None, problem: str
) -> None:
    whole = reports.host()
    device = replace(whole.device, **facts)  # type: ignore[arg-type]  # each of them is a string or None
    silent = replace(whole, device=device, before=replace(whole.before, throttled=throttled))
    (found,) = verify.contradictions(silent)
    assert found.startswith(f"reasons: the record gives the reason {problem}")
    said = (*conditions.fact_reasons(device), *conditions.state_reasons(silent.before, silent.after))
    void = any(reason.level == "invalid" for reason in said)
    assert verify.contradictions(replace(silent, reasons=said, fastest=None if void else whole.fastest)) == ()


@pytest.mark.parametrize("named", [None, "int8.onnx"])
def test_a_fastest_artifact_that_is_not_is_named(named: str | None) -> None:
    # int8.onnx is faster, and 2.5 points below fp32: its answers do not hold.
    problem = f"fastest: reported {named or 'none'}, the record gives fp32.onnx"
    assert verify.contradictions(replace(reports.host(), fastest=named)) == (problem,)


def test_a_run_that_is_void_as_a_whole_has_no_fastest() -> None:
    whole = replace(reports.host(), before=replace(reports.state(), throttled=True))
    void = replace(whole, reasons=conditions.state_reasons(whole.before, whole.after))
    assert verify.contradictions(void) == ("fastest: reported fp32.onnx, the record gives none",)


def test_a_report_of_the_newest_schema_cannot_pass_for_an_older_by_leaving_its_threads_out() -> None:
    bare = changed(in_latency(lambda it: replace(it, threads=None, steadiness=None)))
    assert verify.contradictions(bare) == (
        "int8.onnx: latency.steadiness.not_steady: reported none, the record gives 0",
        "int8.onnx: latency.steadiness.lag1: reported none, the record gives -0.9851485149",
        "int8.onnx: latency.steadiness.effective_n: reported none, the record gives 101",
        "int8.onnx: latency: of 1 thread, batch 1, the settings say 2 threads, batch 1",
    )


def apart(**figures: object) -> Callable[[ArtifactReport], ArtifactReport]:
    """Return a change to answers that are not the host's own, of which sample 1 is a flip."""

    def change(artifact: ArtifactReport) -> ArtifactReport:
        accuracy = replace(
            reports.accuracy((1,)), identical_to_host=False, max_abs_difference=0.5, flips=(reports.flip(),)
        )
        return replace(artifact, accuracy=replace(accuracy, **figures))  # type: ignore[arg-type]

    return change


def test_distances_that_the_answers_have_room_for_are_not_complained_of() -> None:
    # Margins of 0.25 and 0.5 need logits that moved by 0.375.
    for figures in ({}, {"max_abs_difference": 0.375}, {"kl_nats": 1.0, "least_cosine": -1.0}, {"snr_db": 999.0}):
        assert verify.contradictions(changed(apart(**figures))) == ()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            apart(max_abs_difference=0.374),
            ".max_abs_difference: reported 0.374, the margins of the flips give 0.375 or more",
        ),
        (apart(kl_nats=1.01), ".kl_nats: reported 1.01, logits that differ by 0.5 give 0 to 1"),
        (apart(kl_nats=-0.5), ".kl_nats: reported -0.5, logits that differ by 0.5 give 0 to 1"),
        (apart(furthest_sample=40), ".furthest_sample: reported 40, of 40 samples"),
        (apart(least_cosine=1.5), ".least_cosine: reported 1.5, which is none"),
        (
            apart(snr_db=None),
            ".snr_db: reported none, as of equal logits, beside answers that differ from the fp32 model's",
        ),
        (apart(flips=(reports.flip(), reports.flip())), ".flips: one sample is listed twice"),
        (in_accuracy(least_cosine=0.5), ".identical_to_host: reported true, beside flips or a difference"),
    ],
)
def test_distances_that_contradict_the_answers_are_named(
    change: Callable[[ArtifactReport], ArtifactReport], problem: str
) -> None:
    assert verify.contradictions(changed(change)) == (f"int8.onnx: accuracy{problem}",)


def test_a_flip_that_does_not_fit_its_label_is_named() -> None:
    whole = reports.complete()
    ran = whole.artifacts[0]
    assert ran.accuracy is not None
    flip = replace(ran.accuracy.flips[0], label=0)
    forged = reports.with_artifact(whole, replace(ran, accuracy=replace(ran.accuracy, flips=(flip,))))
    problem = "int8.torchscript: accuracy.flips: sample 1: not what its label and its prediction say"
    assert verify.contradictions(forged) == (problem,)


def test_a_share_that_does_not_follow_from_the_times_of_the_operators_is_named() -> None:
    whole = reports.complete()
    conv, linear = whole.artifacts[0].operators
    forged = replace(whole.artifacts[0], operators=(replace(conv, share=0.5), linear))
    problem = "int8.torchscript: operators[0].share: reported 0.5, the record gives 0.75"
    assert verify.contradictions(reports.with_artifact(whole, forged)) == (problem,)


def test_a_fastest_artifact_that_was_never_timed_is_named() -> None:
    forged = replace(reports.host(), fastest="int8.torchscript")
    assert verify.contradictions(forged) == ("fastest: reported int8.torchscript, which has no latency",)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda it: replace(it, accuracy=replace(it.accuracy, predictions=(1, 2))),
            "int8.onnx: accuracy.predictions: 2 values for 40 labels",
        ),
        (
            lambda it: replace(it, accuracy=replace(it.accuracy, flips=(replace(reports.flip(), sample=40),))),
            "int8.onnx: accuracy.flips: a sample that is not there",
        ),
        (in_latency(lambda it: replace(it, processes=())), "int8.onnx: latency.processes: none"),
        (
            in_first_process(lambda it: replace(it, samples_ns=())),
            "int8.onnx: latency.processes[0].samples_ns: none, or not all positive",
        ),
        (
            in_first_process(lambda it: replace(it, samples_ns=(5, 0))),
            "int8.onnx: latency.processes[0].samples_ns: none, or not all positive",
        ),
    ],
)
def test_a_record_that_is_of_no_use_is_told_instead(
    change: Callable[[ArtifactReport], ArtifactReport], problem: str
) -> None:
    assert verify.malformed(changed(change)) == (problem,)
    assert verify.contradictions(changed(change)) == (problem,)


def test_a_report_without_labels_is_of_no_use() -> None:
    bare = replace(reports.host(), labels=(), reference_predictions=(), artifacts=(), fastest=None)
    assert verify.malformed(bare) == ("reference_predictions: 0 values for 0 labels",)


# A GPU


def on_gpu() -> Report:
    """Return a report of an artifact on a GPU that was not idle before, and that slowed itself down in the run."""
    whole = reports.complete()
    part = whole.artifacts[0]
    assert part.latency is not None
    assert part.runtime is not None
    (process,) = part.latency.processes
    hot = replace(reports.gpu_counters(), event_reasons=0x40)
    seen = tuple(replace(each, gpu=hot) for each in process.machine)
    gpu_part = replace(
        part,
        runtime=replace(part.runtime, device="cuda"),
        latency=replace(part.latency, processes=(replace(process, machine=seen),)),
    )
    return replace(whole, artifacts=(gpu_part, *whole.artifacts[1:]))


def test_what_a_gpu_did_and_is_not_told_of_is_named() -> None:
    assert verify.contradictions(on_gpu()) == (
        "int8.torchscript: runtime: the record gives the reason 'cpu-nodes' (caveat), and it is not reported: "
        "1 of 12 nodes ran on the CPU, where ONNX Runtime has placed them: TopK",
        "int8.torchscript: runtime: the record gives the reason 'gpu-contended' (caveat), and it is not reported: "
        "before anything was measured the GPU was not idle: 1 other program computed on it and it was 75% busy",
    )


def test_a_gpu_that_slowed_itself_down_is_found_in_the_record() -> None:
    whole = on_gpu()
    part = whole.artifacts[0]
    silent = replace(part, reasons=tuple(reason for reason in part.reasons if reason.code != "throttled"))
    found = verify.contradictions(replace(whole, artifacts=(silent, *whole.artifacts[1:])))
    assert [problem for problem in found if "'throttled'" in problem] == [
        "int8.torchscript: latency: the record gives the reason 'throttled' (invalid), and it is not reported: the "
        "board slowed itself down while it was timed (under-voltage), in 1 of 1 processes",
        "int8.torchscript: latency: the record gives the reason 'throttled' (invalid), and it is not reported: the "
        "GPU slowed itself down while it was timed (HW thermal slowdown), in 1 of 1 processes",
    ]
