"""What two reports can be held against each other for, and what is refused or withheld."""

from dataclasses import replace

import pytest

from runner import report
from runner.compare import compare
from runner.compare.comparison import Limits, Margins
from runner.errors import ReportError
from runner.facts import DeviceFacts
from runner.reason import Reason
from runner.report import Report
from tests import reports
from tests.runner.compare.pairs import EMULATED, NO_LIMITS, device_with


def test_a_floor_that_was_measured_counts_and_the_larger_of_two() -> None:
    quiet, noisy = (report.seal(replace(reports.host(), noise_floor=floor)) for floor in (0.004, 0.06))
    found = compare(quiet, quiet, NO_LIMITS)
    assert (found.margin, found.host.noise_floor, found.host.floor_measured) == (0.02, 0.004, True)
    assert compare(quiet, quiet, NO_LIMITS, Margins(latency=0.05)).artifacts[0].word == "equivalent"
    assert compare(quiet, noisy, NO_LIMITS).margin == compare(noisy, quiet, NO_LIMITS).margin == 0.06
    assert not compare(quiet, reports.host(), NO_LIMITS).device.floor_measured


def on(facts: DeviceFacts) -> Report:
    """Return the host's report of another machine."""
    return report.seal(replace(reports.host(), device=facts))


@pytest.mark.parametrize(
    ("facts", "margin"),
    [
        (reports.device(), 0.03),
        (replace(reports.device(), governor="schedutil"), 0.05),
        (replace(reports.device(), governor=None), 0.05),
        (reports.device(virtual="kvm"), 0.10),
        (reports.device(virtual="container (docker)"), 0.03),
        (replace(reports.device(virtual="container (docker)"), governor=None), 0.05),
        (reports.device(virtual="virtual machine (QEMU) with a container (docker)"), 0.10),
    ],
)
def test_the_margin_grows_with_what_is_not_under_control(facts: DeviceFacts, margin: float) -> None:
    found = compare(on(facts), device_with((60, 61, 62, 59, 58), facts=facts), NO_LIMITS)
    assert (found.pair, found.margin) == ("same-device", margin)


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


def called(threads: int, streams: int, whole: Report | None = None) -> Report:
    """Return a report of which each latency was taken with so many threads and streams, by default the host's."""
    found = whole or reports.host()
    parts = tuple(
        replace(part, latency=replace(part.latency, threads=threads, streams=streams)) if part.latency else part
        for part in found.artifacts
    )
    settings = replace(found.settings, threads=threads, streams=streams)
    return report.seal(replace(found, settings=settings, artifacts=parts))


@pytest.mark.parametrize(
    ("threads", "streams", "told"),
    [
        (2, 4, ["no latency ratio: 1 stream on the host, 4 on the device; try: measure both with the same --streams"]),
        (1, 1, ["no latency ratio: 2 threads on the host, 1 on the device; try: measure both with the same --threads"]),
    ],
)
def test_latencies_of_other_streams_or_threads_on_one_device_are_not_compared(
    threads: int, streams: int, told: list[str]
) -> None:
    found = compare(reports.host(), called(threads, streams), Limits(max_slowdown=0.5))
    for artifact in found.artifacts:
        assert (artifact.word, artifact.latency, artifact.delta("latency").ratio) == (None, None, None)
        assert [it.line for it in artifact.withheld] == told
        assert artifact.answers is not None
    assert {it.judgement for it in found.verdicts} == {"undecided"}


def test_the_threads_of_a_report_of_schema_1_1_are_those_of_its_run() -> None:
    old = called(2, 1)
    parts = tuple(replace(p, latency=replace(p.latency, threads=None)) if p.latency else p for p in old.artifacts)
    old = report.seal(replace(old, artifacts=parts, schema="1.1"))
    assert [it.withheld for it in compare(reports.host(), old, NO_LIMITS).artifacts] == [(), ()]
    assert [it.code for it in compare(called(4, 1), old, NO_LIMITS).artifacts[0].withheld] == ["threads"]


def test_devices_of_other_cores_are_compared_with_other_threads_but_not_with_other_streams() -> None:
    found = compare(reports.host(), called(4, 1, reports.board()), NO_LIMITS)
    assert [it.delta("latency").ratio is None for it in found.artifacts] == [False, False]
    assert [it.detail for it in found.notes] == ["threads: 2 on the host, 4 on the device"]
    apart = compare(reports.host(), called(4, 2, reports.board()), NO_LIMITS)
    assert [it.code for it in apart.artifacts[0].withheld] == ["streams"]


@pytest.mark.parametrize(
    ("ours", "theirs", "pair"),
    [
        (None, "virtual machine (QEMU)", "cross-device"),
        (None, "container (docker)", "same-device"),
        ("virtual machine (QEMU)", "virtual machine (QEMU) with a container (docker)", "same-device"),
        ("virtual machine (QEMU)", "virtual machine (VMware)", "cross-device"),
    ],
)
def test_a_virtual_machine_is_another_device_than_its_cpu_and_a_container_is_not(
    ours: str | None, theirs: str | None, pair: str
) -> None:
    found = compare(on(reports.device(virtual=ours)), on(reports.device(virtual=theirs)), NO_LIMITS)
    assert found.pair == pair


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
