"""Which artifact is the fastest, which others are as fast for all that is known, and when none is."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from runner.fastest import as_fast, cost, fastest
from runner.reason import Level, Reason
from runner.report import ArtifactReport
from tests import reports


def artifact(name: str, medians_us: Sequence[int], wrong: Sequence[int] = ()) -> ArtifactReport:
    """Return an artifact that was answered and timed."""
    return reports.artifact(name, size=100, medians_us=medians_us, wrong=wrong)


FP32 = artifact("fp32.onnx", (100, 101, 102, 103, 104))
FP16 = artifact("fp16.onnx", (90, 91, 92, 93, 94))
INT8 = artifact("int8.onnx", (60, 61, 62, 63, 64), wrong=(1, 2))


def reason(level: Level) -> Reason:
    """Return a reason of that level."""
    return Reason(code="some", level=level, detail="some")


def test_the_lowest_median_among_those_whose_answers_hold_is_the_fastest() -> None:
    assert fastest((FP32, FP16, INT8), 1.0, ()) == "fp16.onnx"
    assert fastest((FP32, FP16, INT8), 0.95, ()) == "int8.onnx"
    assert fastest((INT8,), 1.0, ()) is None


@pytest.mark.parametrize(("level", "name"), [("note", "fp16.onnx"), ("caveat", "fp16.onnx"), ("invalid", None)])
def test_what_voids_the_whole_run_leaves_no_fastest(level: Level, name: str | None) -> None:
    assert fastest((FP32, FP16), 1.0, (reason(level),)) == name
    void = replace(FP16, reasons=(reason(level),))
    assert fastest((FP32, void), 1.0, ()) == (name or "fp32.onnx")


@pytest.mark.parametrize(
    ("medians_us", "found"),
    [
        ((94, 95, 96, 97, 98), ("fp32.onnx",)),
        ((95, 95, 96, 97, 98), ()),
        ((80, 85, 93, 95, 120), ("fp32.onnx",)),
    ],
)
def test_others_whose_interval_touches_that_of_the_fastest_are_as_fast(
    medians_us: Sequence[int], found: tuple[str, ...]
) -> None:
    near = artifact("fp32.onnx", medians_us)
    assert as_fast((near, FP16, INT8), 1.0, "fp16.onnx") == found
    # What is void or does not answer well is no rival.
    assert as_fast((replace(near, reasons=(reason("invalid"),)), FP16), 1.0, "fp16.onnx") == ()


def test_of_an_artifact_whose_answers_do_not_hold_none_is_as_fast() -> None:
    assert as_fast((FP32, INT8), 1.0, "int8.onnx") == ()


def starting(part: ArtifactReport, start_ns: int) -> ArtifactReport:
    """Return the artifact with processes that take so long from their start to the first answer."""
    assert part.latency
    processes = tuple(
        replace(each, import_ns=start_ns // 2, load_ns=start_ns // 4, first_ns=start_ns // 4)
        for each in part.latency.processes
    )
    return replace(part, latency=replace(part.latency, processes=processes))


def test_by_cold_start_the_first_answer_counts_and_not_the_call() -> None:
    slow, quick = starting(FP16, 4_000_000), starting(FP32, 1_000_000)
    assert fastest((slow, quick), 1.0, (), "latency") == "fp16.onnx"
    assert fastest((slow, quick), 1.0, (), "cold-start") == "fp32.onnx"
    assert slow.latency
    found = cost(slow.latency, "cold-start")
    assert (found.median_ns, found.interval.low, found.interval.high) == (4_000_000, 4_000_000, 4_000_000)
    assert cost(slow.latency, "latency").interval == slow.latency.interval
    assert as_fast((slow, starting(FP32, 4_000_000)), 1.0, "fp16.onnx", "cold-start") == ("fp32.onnx",)
    assert as_fast((slow, quick), 1.0, "fp16.onnx", "cold-start") == ()
