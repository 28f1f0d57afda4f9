"""Two reports side by side: their figures, what is said of them, and what was not alike."""

from dataclasses import replace

import pytest

from runner import report
from runner.compare import compare
from runner.compare.comparison import Limits, Margins, Missing
from runner.reason import Reason
from tests import reports
from tests.runner.compare.pairs import NO_LIMITS, device_with


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
        [0, 0, None, 0, 0, None, 0, 0, 0] * 2
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


def test_what_was_set_otherwise_on_one_device_is_named_with_both_values() -> None:
    other = replace(
        reports.device(virtual="container (docker)"),
        governor="powersave",
        cpu_quota=2.5,
        affinity=(2, 3),
        system="Linux 6.6",
        python="3.12.1",
        environment={"OMP_NUM_THREADS": "1"},
    )
    device = report.seal(replace(reports.host(), device=other))
    assert [(it.code, it.level, it.detail) for it in compare(reports.host(), device, NO_LIMITS).notes] == [
        ("conditions", "note", detail)
        for detail in (
            "governor: performance on the host, powersave on the device",
            "CPU quota: none on the host, 2.5 CPUs on the device",
            "affinity: CPU 0, 1 on the host, CPU 2, 3 on the device",
            "virtual: no on the host, container (docker) on the device",
            "system: Linux 6.1 on the host, Linux 6.6 on the device",
            "Python: 3.11.7 on the host, 3.12.1 on the device",
            "OMP_NUM_THREADS: not set on the host, 1 on the device",
        )
    ]
    elsewhere = report.seal(replace(device, device=replace(other, cpu="Another CPU")))
    assert compare(reports.host(), elsewhere, NO_LIMITS).notes == ()


def test_logits_that_are_not_compared_are_told() -> None:
    host = report.seal(replace(reports.host(), inputs_sha256="1" * 64))
    other = replace(host.artifacts[1], sha256="9" * 64)
    device = report.seal(replace(reports.with_artifact(host, other), bundle_id="cd" * 32))
    found = compare(host, device, NO_LIMITS)
    assert [it.detail for it in found.notes if it.code == "no-distance"] == [
        "int8.onnx: two different files, whose logits are not compared beyond the flips"
    ]
    sides = []
    for whole in (host, reports.board()):
        part = whole.artifacts[0]
        assert part.accuracy is not None
        apart = replace(part.accuracy, identical_to_host=False, max_abs_difference=0.5)
        sides.append(reports.with_artifact(whole, replace(part, accuracy=apart)))
    assert [it.detail for it in compare(sides[0], sides[1], NO_LIMITS).notes] == [
        "fp32.onnx: no distance between the logits, for neither side has those of the host that packed it"
    ]
