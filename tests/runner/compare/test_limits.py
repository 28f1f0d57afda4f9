"""When a stated limit is held, when it is missed, and when nobody can tell."""

from dataclasses import replace

import pytest

from runner import report
from runner.compare import compare
from runner.compare.comparison import Limits, Verdict
from runner.report import Report
from runner.stats.paired import paired_difference
from tests import reports
from tests.runner.compare.pairs import EMULATED, device_with, many


def verdict(device: Report, limits: Limits) -> Verdict:
    """Return the verdict on int8.onnx."""
    return next(it for it in compare(reports.host(), device, limits).verdicts if it.artifact == "int8.onnx")


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


def test_a_budget_is_judged_by_the_record_and_not_by_what_the_report_says_of_it() -> None:
    whole = reports.board()
    part = whole.artifacts[1]
    assert part.latency is not None
    told = replace(part.latency, median_ns=1.0, interval=replace(part.latency.interval, low=1.0, high=1.0))
    found = verdict(reports.with_artifact(whole, replace(part, latency=told)), Limits(max_latency_ns=117_900))
    assert (found.judgement, found.observed) == ("violated", 120_000.0)
    assert found.interval == part.latency.interval


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


@pytest.mark.parametrize(
    ("b", "c", "limit", "judgement"),
    [(0, 0, 0.005, "held"), (0, 0, 0.001, "undecided"), (10, 4, 0.005, "undecided"), (40, 2, 0.005, "violated")],
)
def test_an_accuracy_drop_is_judged_by_its_interval(b: int, c: int, limit: float, judgement: str) -> None:
    found = compare(*many(b, c, 2000), Limits(max_accuracy_drop=limit)).verdicts[0]
    assert found.judgement == judgement
    assert found.observed == pytest.approx((b - c) / 2000)
    expected = paired_difference(
        [True] * b + [False] * (2000 - b), [False] * b + [True] * c + [False] * (2000 - b - c), 0.9
    )
    assert found.interval is not None
    assert (found.interval.low, found.interval.high) == pytest.approx((expected.low, expected.high))
    told = f"{b} right to wrong and {c} wrong to right of 2000"
    more = ": the interval lies on both sides of the limit, and only more samples decide it"
    assert found.detail == (told + more if judgement == "undecided" else told)


def test_a_missed_limit_fails_the_comparison_and_an_undecided_one_only_when_strict() -> None:
    same, slow = device_with((60, 61, 62, 59, 58)), device_with((70, 71, 72, 69, 70))
    assert compare(reports.host(), slow, Limits(max_slowdown=0.05)).violated
    assert not compare(reports.host(), same, Limits(max_slowdown=0.0)).violated
    assert compare(reports.host(), same, Limits(max_slowdown=0.0, strict=True)).violated
    assert not compare(reports.host(), slow, Limits(strict=True)).violated
