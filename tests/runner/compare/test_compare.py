"""Two reports of one bundle: what is said of them, what is withheld, and when a limit is missed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from scipy import stats as reference

from runner import report, stats
from runner.compare import compare
from runner.compare.comparison import AnswerFlip, Answers, Distance, Limits, Margins, Missing, Verdict
from runner.errors import ReportError
from runner.report import DeviceFacts, Reason, Report
from tests import reports

NO_LIMITS = Limits()
EMULATED = Reason(code="emulated", level="invalid", detail="this machine is emulated", advice="the real one")


def device_with(medians_us: Sequence[int], *, wrong: Sequence[int] = (7,), facts: DeviceFacts | None = None) -> Report:
    """Return the host's report with other figures of int8.onnx."""
    int8 = reports.artifact("int8.onnx", size=60 * reports.KIB, medians_us=medians_us, wrong=wrong)
    return report.seal(replace(reports.with_artifact(reports.host(), int8), device=facts or reports.device()))


def verdict(device: Report, limits: Limits) -> Verdict:
    """Return the verdict on int8.onnx."""
    return next(it for it in compare(reports.host(), device, limits).verdicts if it.artifact == "int8.onnx")


def test_a_board_that_is_twice_as_slow_is_told_by_its_ratio_and_no_word() -> None:
    found = compare(reports.host(), reports.board(), NO_LIMITS)
    assert found.pair == "cross-device"
    assert [artifact.name for artifact in found.artifacts] == ["fp32.onnx", "int8.onnx"]
    int8 = found.artifacts[1]
    latency = int8.delta("latency")
    assert (latency.host, latency.device, latency.difference) == (60_000.0, 120_000.0, 60_000.0)
    assert latency.ratio == pytest.approx(2.0)
    assert latency.interval is not None
    assert (latency.interval.low, latency.interval.high) == pytest.approx((118 / 62, 122 / 58))
    assert latency.interval.confidence == pytest.approx(1 - 2 / 252)
    assert int8.word is None
    assert found.margin is None
    assert (int8.delta("size").ratio, int8.delta("peak").ratio, int8.delta("first").ratio) == (1.0, 1.0, 2.0)
    assert int8.delta("top5").difference is None
    assert (found.verdicts, found.violated, found.notes) == ((), False, ())


def test_a_report_beside_itself_differs_in_nothing() -> None:
    found = compare(reports.host(), reports.host(), Limits(max_slowdown=0.15, max_accuracy_drop=0.06))
    assert found.pair == "same-device"
    assert [delta.difference for artifact in found.artifacts for delta in artifact.deltas] == (
        [0, 0, None, 0, 0, 0, 0, 0] * 2
    )
    assert [it.answers.agreement for it in found.artifacts if it.answers] == [1.0, 1.0]
    judged = [(it.artifact, it.judgement) for it in found.verdicts if it.artifact != "int8.torchscript"]
    assert judged == [("fp32.onnx", "held"), ("fp32.onnx", "held"), ("int8.onnx", "held"), ("int8.onnx", "held")]


@pytest.mark.parametrize(
    ("medians_us", "word"),
    [
        ((70, 71, 72, 69, 70), "slower"),
        ((50, 51, 50, 49, 50), "faster"),
        ((60, 60, 60, 60, 60), "inconclusive"),
        ((63, 63, 63, 63, 63), "inconclusive"),
    ],
)
def test_on_one_device_a_word_is_said_where_the_whole_interval_allows_it(medians_us: list[int], word: str) -> None:
    found = compare(reports.host(), device_with(medians_us), NO_LIMITS, Margins(latency=0.03))
    assert found.margin == 0.03
    fp32, int8 = found.artifacts
    assert (fp32.word, fp32.pair, fp32.same_file) == ("equivalent", "same-device", True)
    assert int8.word == word
    assert int8.latency is not None
    assert int8.latency.word == word
    assert (int8.latency.ratio, int8.latency.interval) == (int8.delta("latency").ratio, int8.delta("latency").interval)


def test_what_the_noise_between_sessions_may_hide_is_not_called_equivalent() -> None:
    found = compare(reports.host(), reports.host(), NO_LIMITS).artifacts[0]
    assert found.word == "inconclusive"
    assert found.latency is not None
    assert (found.latency.hidden, found.latency.more_processes) == (True, None)
    assert found.unsettled[0] == Reason(
        code="noise-floor",
        level="note",
        detail="a difference of latency may hide in the noise floor of 3 %, which is above the margin of 2 %",
        advice="bench-runner selftest, which measures the floor, or bench-runner ab, which needs none",
    )


def test_a_floor_that_was_measured_counts_and_the_larger_of_two() -> None:
    quiet, noisy = (report.seal(replace(reports.host(), noise_floor=floor)) for floor in (0.004, 0.06))
    found = compare(quiet, quiet, NO_LIMITS)
    assert (found.margin, found.host.noise_floor, found.host.floor_measured) == (0.02, 0.004, True)
    assert compare(quiet, quiet, NO_LIMITS, Margins(latency=0.05)).artifacts[0].word == "equivalent"
    assert compare(quiet, noisy, NO_LIMITS).margin == compare(noisy, quiet, NO_LIMITS).margin == 0.06
    assert not compare(quiet, reports.host(), NO_LIMITS).device.floor_measured


@pytest.mark.parametrize(
    ("facts", "margin"),
    [
        (reports.device(), 0.03),
        (replace(reports.device(), governor="schedutil"), 0.05),
        (replace(reports.device(), governor=None), 0.05),
        (reports.device(virtual="kvm"), 0.10),
    ],
)
def test_the_margin_grows_with_what_is_not_under_control(facts: DeviceFacts, margin: float) -> None:
    assert compare(reports.host(), device_with((60, 61, 62, 59, 58), facts=facts), NO_LIMITS).margin == margin


def test_answers_are_compared_sample_by_sample() -> None:
    found = compare(reports.host(), device_with((60, 61, 62, 59, 58), wrong=(8, 10, 12)), NO_LIMITS)
    answers = found.artifacts[1].answers
    assert answers is not None
    assert (answers.samples, answers.agreement) == (40, 0.9)
    assert (answers.right_to_wrong, answers.wrong_to_right) == (3, 1)
    assert [flip.sample for flip in answers.flips] == [7, 8, 10, 12]
    assert answers.flips[0] == AnswerFlip(sample=7, label=1, host=2, device=1, host_margin=None, device_margin=None)
    assert answers.accuracy_drop == 0.05


def test_a_flip_carries_its_margins_where_the_device_listed_it() -> None:
    device = device_with((60, 61, 62, 59, 58), wrong=(1, 7))
    part = device.artifacts[1]
    assert part.accuracy is not None
    listed = replace(part.accuracy, identical_to_host=False, max_abs_difference=0.5, flips=(reports.flip(),))
    found = compare(reports.host(), reports.with_artifact(device, replace(part, accuracy=listed)), NO_LIMITS)
    answers = found.artifacts[1].answers
    assert answers is not None
    assert answers.flips == (AnswerFlip(sample=1, label=1, host=1, device=2, host_margin=0.25, device_margin=0.5),)


MORE = "measure with more effort, or the floor of 3 % between sessions, which is in it, by `selftest`"


@pytest.mark.parametrize(
    ("medians_us", "limit", "judgement", "detail"),
    [
        ((70, 71, 72, 69, 70), 0.05, "violated", "even the lower end of the interval is beyond the limit"),
        ((70, 71, 72, 69, 70), 0.09, "undecided", f"the interval lies on both sides of the limit: {MORE}"),
        ((60, 61, 62, 59, 58), 0.12, "held", "the whole interval is within the limit"),
        ((60, 61, 62, 59, 58), 0.10, "undecided", f"the interval lies on both sides of the limit: {MORE}"),
    ],
)
def test_a_slowdown_is_judged_by_its_interval_and_the_noise_between_sessions(
    medians_us: list[int], limit: float, judgement: str, detail: str
) -> None:
    found = verdict(device_with(medians_us), Limits(max_slowdown=limit))
    assert (found.judgement, found.detail, found.allowed) == (judgement, detail, limit)


def test_the_slowdown_is_the_ratio_less_one() -> None:
    found = verdict(device_with((90, 90, 90, 90, 90)), Limits(max_slowdown=0.05))
    assert found.observed == pytest.approx(0.5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((90 / 62 / 1.03 - 1, 90 / 58 * 1.03 - 1))
    assert found.interval.method == "Hodges-Lehmann, exact Mann-Whitney, widened by a noise floor of 0.03"


@pytest.mark.parametrize(
    ("limit_us", "judgement"), [(117.9, "violated"), (118, "undecided"), (121, "undecided"), (122, "held")]
)
def test_a_budget_is_judged_by_the_interval_of_the_device_alone(limit_us: float, judgement: str) -> None:
    found = verdict(reports.board(), Limits(max_latency_ns=1000 * limit_us))
    assert (found.limit, found.judgement, found.observed) == ("max_latency", judgement, 120_000.0)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == (118_000.0, 122_000.0)


def test_a_budget_needs_no_host_but_a_device_that_was_measured() -> None:
    host = reports.host()
    bare = report.seal(replace(host, artifacts=host.artifacts[2:], reasons=(EMULATED,)))
    found = compare(bare, reports.board(), Limits(max_latency_ns=1e6, strict=True))
    assert [(it.artifact, it.judgement, it.detail) for it in found.verdicts] == [
        ("int8.torchscript", "undecided", "no latency from the device: torch is not installed"),
        ("fp32.onnx", "held", "the whole interval is within the limit"),
        ("int8.onnx", "held", "the whole interval is within the limit"),
    ]
    assert found.violated
    gone = compare(reports.board(), bare, Limits(max_latency_ns=1e6)).verdicts[0]
    assert (gone.artifact, gone.judgement, gone.detail) == ("fp32.onnx", "undecided", "not run on the device")


def many(b: int, c: int, samples: int) -> tuple[Report, Report]:
    """Return two reports of so many samples, with b right on the host alone, and c right on the device alone."""
    labels = tuple(sample % 3 for sample in range(samples))
    host_wrong, device_wrong = set(range(c)), set(range(c, c + b))
    sides = []
    for whole, wrong in ((reports.host(), host_wrong), (reports.board(), device_wrong)):
        part = whole.artifacts[1]
        assert part.accuracy is not None
        predictions = tuple((label + 1) % 3 if sample in wrong else label for sample, label in enumerate(labels))
        record = replace(
            part.accuracy, samples=samples, predictions=predictions, label_ranks=(0,) * samples, losses=(0.5,) * samples
        )
        artifacts = (replace(part, accuracy=record),)
        sides.append(report.seal(replace(whole, labels=labels, reference_predictions=labels, artifacts=artifacts)))
    return sides[0], sides[1]


def answers(b: int, c: int, samples: int, accuracy: float = 0.01) -> Answers:
    """Return what is said of so many samples lost and won."""
    found = compare(*many(b, c, samples), NO_LIMITS, Margins(accuracy=accuracy)).artifacts[0].answers
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("b", "c", "limit", "judgement"),
    [(0, 0, 0.005, "held"), (0, 0, 0.001, "undecided"), (10, 4, 0.005, "undecided"), (40, 2, 0.005, "violated")],
)
def test_an_accuracy_drop_is_judged_by_its_interval(b: int, c: int, limit: float, judgement: str) -> None:
    found = compare(*many(b, c, 2000), Limits(max_accuracy_drop=limit)).verdicts[0]
    assert found.judgement == judgement
    assert found.observed == pytest.approx((b - c) / 2000)
    expected = stats.paired_difference(
        [True] * b + [False] * (2000 - b), [False] * b + [True] * c + [False] * (2000 - b - c), 0.9
    )
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    told = f"{b} right to wrong and {c} wrong to right of 2000"
    more = ": the interval lies on both sides of the limit, and only more samples decide it"
    assert found.detail == (told + more if judgement == "undecided" else told)


@pytest.mark.parametrize(
    ("b", "c", "samples", "word", "differs", "needed"),
    [
        (0, 0, 2000, "non-inferior", False, None),
        (12, 8, 2000, "non-inferior", False, None),
        (0, 40, 2000, "non-inferior", True, None),
        (60, 5, 2000, "inferior", True, None),
        (0, 0, 40, "undecided", False, 619),
        (12, 8, 1000, "undecided", False, 1237),
        (30, 20, 1000, "undecided", False, 3092),
        (25, 5, 2000, "undecided", True, None),
    ],
)
def test_accuracy_is_judged_by_the_interval_of_the_paired_difference(
    b: int, c: int, samples: int, word: str, differs: bool, needed: int | None
) -> None:
    found = answers(b, c, samples)
    assert (found.word, found.differs, found.samples_needed) == (word, differs, needed)
    assert found.p_value == pytest.approx(reference.binomtest(b, b + c).pvalue if b + c else 1.0)
    assert found.interval.confidence == 0.9


def test_the_margin_of_accuracy_is_the_users() -> None:
    assert answers(12, 8, 1000).word == "undecided"
    assert answers(12, 8, 1000, accuracy=0.02).word == "non-inferior"
    nothing = answers(12, 8, 1000, accuracy=0.0)
    assert (nothing.word, nothing.samples_needed) == ("undecided", None)


def test_too_few_samples_for_a_word_are_told_with_how_many_it_takes() -> None:
    found = compare(*many(3, 1, 200), NO_LIMITS).artifacts[0]
    assert found.unsettled == (
        Reason(
            code="few-samples",
            level="note",
            detail="200 samples cannot show that top-1 loses less than 1 point: at 2 % flips that takes about 1,237; "
            "and 4 discordant samples never show a difference at p < 0.01, 8 may",
            advice="a larger evaluation set",
        ),
    )


def test_the_distance_of_outputs_is_told_where_one_side_has_the_packing_hosts_own() -> None:
    def distance(host_own: bool, device_own: bool) -> Distance | None:
        sides = []
        for whole, own, apart in ((reports.host(), host_own, 0.25), (reports.board(), device_own, 0.5)):
            part = whole.artifacts[1]
            assert part.accuracy is not None
            record = replace(
                part.accuracy,
                identical_to_host=own,
                max_abs_difference=0.0 if own else apart,
                least_cosine=1.0 if own else 1 - apart,
                kl_nats=0.0 if own else apart / 8,
            )
            sides.append(reports.with_artifact(whole, replace(part, accuracy=record)))
        found = compare(sides[0], sides[1], NO_LIMITS).artifacts[1].answers
        assert found is not None
        return found.distance

    assert [distance(a, b) for a, b in [(True, True), (True, False), (False, True), (False, False)]] == [
        Distance(max_abs=0.0, least_cosine=1.0, kl_nats=0.0),
        Distance(max_abs=0.5, least_cosine=0.5, kl_nats=0.0625),
        Distance(max_abs=0.25, least_cosine=0.75, kl_nats=0.03125),
        None,
    ]


def test_a_missed_limit_fails_the_comparison_and_an_undecided_one_only_when_strict() -> None:
    same, slow = device_with((60, 61, 62, 59, 58)), device_with((70, 71, 72, 69, 70))
    assert compare(reports.host(), slow, Limits(max_slowdown=0.05)).violated
    assert not compare(reports.host(), same, Limits(max_slowdown=0.0)).violated
    assert compare(reports.host(), same, Limits(max_slowdown=0.0, strict=True)).violated
    assert not compare(reports.host(), slow, Limits(strict=True)).violated


def test_the_time_of_an_emulated_machine_is_withheld_and_its_answers_are_not() -> None:
    device = report.seal(replace(reports.board(), reasons=(EMULATED,)))
    found = compare(reports.host(), device, Limits(max_slowdown=0.05, max_accuracy_drop=0.06))
    int8 = found.artifacts[1]
    assert int8.delta("latency") == replace(int8.delta("latency"), host=None, device=None, ratio=None, interval=None)
    assert int8.delta("peak").device is None
    assert int8.delta("top1").device == 0.975
    assert int8.withheld == (
        Reason(
            code="emulated",
            level="note",
            detail="no latency from the device: this machine is emulated",
            advice="the real one",
        ),
    )
    judged = [(it.limit, it.judgement, it.detail) for it in found.verdicts if it.artifact == "int8.onnx"]
    assert judged == [
        ("max_slowdown", "undecided", "no latency from the device: this machine is emulated"),
        ("max_accuracy_drop", "held", "0 right to wrong and 0 wrong to right of 40"),
    ]


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_throttled_board_gets_no_verdict_on_latency_and_keeps_its_answers(place: str) -> None:
    throttled = Reason(code="throttled", level="invalid", detail="heat slows it down", advice="a better cooler")
    good, bad = reports.host(), report.seal(replace(reports.host(), reasons=(throttled,)))
    found = compare(*((bad, good) if place == "host" else (good, bad)), Limits(max_slowdown=0.5, max_latency_ns=1e9))
    int8 = found.artifacts[1]
    assert (int8.word, int8.latency, int8.delta("latency").ratio) == (None, None, None)
    assert [it.detail for it in int8.withheld] == [f"no latency from the {place}: heat slows it down"]
    assert int8.answers is not None
    judged = {it.limit: it.judgement for it in found.verdicts if it.artifact == "int8.onnx"}
    assert judged == {"max_slowdown": "undecided", "max_latency": "held" if place == "host" else "undecided"}


def test_answers_that_changed_while_they_were_timed_carry_no_claim() -> None:
    changed = Reason(code="answers-changed", level="invalid", detail="it gave other answers than before")
    whole = reports.board()
    device = reports.with_artifact(whole, replace(whole.artifacts[1], reasons=(changed,)))
    found = compare(reports.host(), device, Limits(max_accuracy_drop=0.5))
    int8 = found.artifacts[1]
    assert (int8.answers, int8.latency, int8.delta("top1").device) == (None, None, None)
    assert [it.detail for it in int8.withheld] == [
        "no latency from the device: it gave other answers than before",
        "no answers from the device: it gave other answers than before",
    ]
    assert [it.judgement for it in found.verdicts if it.artifact == "int8.onnx"] == ["undecided"]


def test_latencies_of_different_batches_are_not_compared() -> None:
    device = device_with((60, 61, 62, 59, 58))
    part = device.artifacts[1]
    batched = replace(part, latency=reports.timed([60_000] * 5, batch=8))
    found = compare(reports.host(), reports.with_artifact(device, batched), NO_LIMITS).artifacts[1]
    assert found.delta("latency").ratio is None
    assert [it.detail for it in found.withheld] == ["no latency ratio: batches of 1 on the host, of 8 on the device"]


def test_too_few_processes_give_a_ratio_without_an_interval() -> None:
    found = compare(reports.host(), device_with((120, 120, 120)), Limits(max_slowdown=0.05))
    int8 = found.artifacts[1]
    assert int8.delta("latency").ratio == pytest.approx(2.0)
    assert int8.delta("latency").interval is None
    assert int8.word == "inconclusive"
    told = "no interval of the latency ratio: 5 and 3 processes cannot give one of 99 %"
    assert [(it.judgement, it.detail) for it in found.verdicts if it.artifact == "int8.onnx"] == [("undecided", told)]


def test_an_artifact_that_one_side_did_not_run_is_listed_with_its_reason() -> None:
    device = reports.board()
    fewer = report.seal(replace(device, artifacts=(replace(device.artifacts[1]), device.artifacts[2])))
    found = compare(reports.host(), fewer, Limits(max_slowdown=9.0))
    not_asked = Reason(code="not-measured", level="note", detail="it was not among the artifacts measured there")
    assert found.missing == (
        Missing(name="fp32.onnx", side="device", reasons=(not_asked,)),
        Missing(name="int8.torchscript", side="host", reasons=(reports.NOT_INSTALLED,)),
        Missing(name="int8.torchscript", side="device", reasons=(reports.NOT_INSTALLED,)),
    )
    assert [(it.artifact, it.judgement) for it in found.verdicts] == [
        ("int8.onnx", "held"),
        ("fp32.onnx", "undecided"),
        ("int8.torchscript", "undecided"),
    ]
    assert not found.violated


def test_what_was_not_alike_is_noted() -> None:
    device = reports.board()
    part = device.artifacts[0]
    assert part.runtime is not None
    older = reports.with_artifact(device, replace(part, runtime=replace(part.runtime, version="1.20.0")))
    settings = report.Settings(threads=4, effort="standard")
    found = compare(reports.host(), report.seal(replace(older, settings=settings, complete=False)), NO_LIMITS)
    assert [(it.code, it.detail) for it in found.notes] == [
        ("interrupted", "the device's run was interrupted: it is not whole"),
        ("threads", "threads: 2 on the host, 4 on the device"),
        ("effort", "effort: quick on the host, standard on the device"),
        (
            "runtime",
            "fp32.onnx: onnx 1.31.1, CPUExecutionProvider on the host, onnx 1.20.0, CPUExecutionProvider on the device",
        ),
    ]


def of_another_bundle(whole: Report, inputs: str | None) -> Report:
    """Return the report of another bundle, in which int8.onnx is another file."""
    int8 = replace(whole.artifacts[1], sha256="9" * 64)
    parts = (whole.artifacts[0], int8, *whole.artifacts[2:])
    return report.seal(replace(whole, bundle_id="cd" * 32, artifacts=parts, inputs_sha256=inputs))


@pytest.mark.parametrize(
    ("device", "classes"),
    [(reports.host(), ["same-device", "same-device"]), (reports.board(), ["same-artifact", "cross"])],
)
def test_what_two_bundles_share_is_told_for_each_artifact(device: Report, classes: list[str]) -> None:
    host = report.seal(replace(reports.host(), inputs_sha256="1" * 64))
    found = compare(host, of_another_bundle(device, "1" * 64), NO_LIMITS)
    assert [it.pair for it in found.artifacts] == classes
    assert [it.same_file for it in found.artifacts] == [True, False]
    assert [it.word is not None for it in found.artifacts] == [it == "same-device" for it in classes]
    assert all(it.answers and it.delta("latency").interval for it in found.artifacts)
    assert found.notes[0].detail == "two bundles: net abababababab on the host, net cdcdcdcdcdcd on the device"
    assert (found.host.bundle_id, found.device.bundle_id) == ("ab" * 32, "cd" * 32)


@pytest.mark.parametrize(("ours", "theirs"), [(None, None), (None, "1" * 64), ("1" * 64, None), ("1" * 64, "2" * 64)])
def test_reports_of_two_bundles_and_other_samples_are_refused_with_both_ids(
    ours: str | None, theirs: str | None
) -> None:
    host = report.seal(replace(reports.host(), inputs_sha256=ours))
    with pytest.raises(ReportError) as caught:
        compare(host, of_another_bundle(reports.board(), theirs), NO_LIMITS)
    assert str(caught.value) == (
        f"not reports of the same bundle: the host's is of {'ab' * 32}, the device's of {'cd' * 32}, "
        "and they are not known to judge the same samples\n"
        "  try: run `bench-runner` on the bundle that the host report came with"
    )


def test_the_same_samples_with_other_labels_are_other_samples() -> None:
    host = report.seal(replace(reports.host(), inputs_sha256="1" * 64))
    other = of_another_bundle(replace(reports.board(), labels=tuple(reversed(reports.LABELS))), "1" * 64)
    with pytest.raises(ReportError, match="not reports of the same bundle"):
        compare(host, other, NO_LIMITS)


def test_reports_that_claim_one_bundle_and_differ_in_what_it_holds_are_refused() -> None:
    device = reports.board()
    labels = replace(device, labels=tuple(reversed(reports.LABELS)))
    with pytest.raises(ReportError, match="do not judge the same evaluation set"):
        compare(reports.host(), labels, NO_LIMITS)
    file = reports.with_artifact(device, replace(device.artifacts[1], sha256="0" * 64))
    with pytest.raises(ReportError, match=r"^int8\.onnx: the two reports name one bundle, and yet not the same file$"):
        compare(reports.host(), file, NO_LIMITS)


def test_a_report_whose_record_is_of_no_use_is_refused() -> None:
    part = reports.board().artifacts[1]
    assert part.latency is not None
    broken = reports.with_artifact(reports.board(), replace(part, latency=replace(part.latency, processes=())))
    with pytest.raises(ReportError, match=r"^device report: int8\.onnx: latency\.processes: none"):
        compare(reports.host(), broken, NO_LIMITS)
