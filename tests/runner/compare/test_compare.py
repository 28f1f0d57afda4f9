"""Two reports of one bundle: what is said of them, what is withheld, and when a limit is missed."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from runner import report
from runner.compare import compare
from runner.compare.comparison import AnswerFlip, Limits, Missing, Verdict
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
    found = compare(reports.host(), reports.host(), Limits(max_slowdown=0.1, max_accuracy_drop=0.0, strict=False))
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
    found = compare(reports.host(), device_with(medians_us), NO_LIMITS)
    assert found.margin == 0.03
    assert found.artifacts[0].word == "equivalent"
    assert found.artifacts[1].word == word


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


@pytest.mark.parametrize(
    ("medians_us", "limit", "judgement", "detail"),
    [
        ((70, 71, 72, 69, 70), 0.05, "violated", "even the lower end of the interval is beyond the limit"),
        ((60, 61, 62, 59, 58), 0.10, "held", "the whole interval is within the limit"),
        (
            (60, 61, 62, 59, 58),
            0.0,
            "undecided",
            "the interval lies on both sides of the limit: measure with more effort",
        ),
    ],
)
def test_a_slowdown_is_judged_by_its_interval(medians_us: list[int], limit: float, judgement: str, detail: str) -> None:
    found = verdict(device_with(medians_us), Limits(max_slowdown=limit))
    assert (found.judgement, found.detail, found.allowed) == (judgement, detail, limit)


def test_the_slowdown_is_the_ratio_less_one() -> None:
    found = verdict(device_with((90, 90, 90, 90, 90)), Limits(max_slowdown=0.05))
    assert found.observed == pytest.approx(0.5)
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((90 / 62 - 1, 90 / 58 - 1))


@pytest.mark.parametrize(
    ("wrong", "limit", "judgement"),
    [((7,), 0.0, "held"), ((7, 8), 0.025, "held"), ((7, 8), 0.0249, "violated"), ((), 0.0, "held")],
)
def test_an_accuracy_drop_is_judged_by_what_was_observed(wrong: list[int], limit: float, judgement: str) -> None:
    found = verdict(device_with((60, 61, 62, 59, 58), wrong=wrong), Limits(max_accuracy_drop=limit))
    assert found.judgement == judgement
    assert found.observed == pytest.approx((len(wrong) - 1) / 40)


def test_a_missed_limit_fails_the_comparison_and_an_undecided_one_only_when_strict() -> None:
    same, slow = device_with((60, 61, 62, 59, 58)), device_with((70, 71, 72, 69, 70))
    assert compare(reports.host(), slow, Limits(max_slowdown=0.05)).violated
    assert not compare(reports.host(), same, Limits(max_slowdown=0.0)).violated
    assert compare(reports.host(), same, Limits(max_slowdown=0.0, strict=True)).violated
    assert not compare(reports.host(), slow, Limits(strict=True)).violated


def test_the_time_of_an_emulated_machine_is_withheld_and_its_answers_are_not() -> None:
    device = report.seal(replace(reports.board(), reasons=(EMULATED,)))
    found = compare(reports.host(), device, Limits(max_slowdown=0.05, max_accuracy_drop=0.0))
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


def test_reports_of_two_bundles_are_refused_with_both_ids() -> None:
    other = report.seal(replace(reports.board(), bundle_id="cd" * 32))
    with pytest.raises(ReportError) as caught:
        compare(reports.host(), other, NO_LIMITS)
    assert str(caught.value) == (
        f"not reports of the same bundle: the host's is of {'ab' * 32}, the device's of {'cd' * 32}\n"
        "  try: run `bench-runner` on the bundle that the host report came with"
    )


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
