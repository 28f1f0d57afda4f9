"""The Pareto front of a search, the point that is chosen from it, and how both are told."""

import pytest

from packager.recipe import Prune, Quantize
from packager.tune import Wish, table
from packager.tune.front import Choice, Finding, Point, Record, choice, front
from packager.tune.plan import Plan, described
from runner.interval import Interval
from runner.packing import Drop
from runner.render.page import as_markdown

PRUNE = Prune(method="channels", importance="taylor", amounts={"stack1": 0.25, "stack2": 0.0, "stack3": 0.625})
QUANTIZE = Quantize(ranges="mse", per_channel=False, equalize=True)


def finding(drop: float, size_bytes: int, *, macs: int | None = 1000, latency_ns: float | None = None) -> Finding:
    span = Interval(low=drop - 0.01, high=drop + 0.01, confidence=0.95, method="made up")
    return Finding(
        plan=Plan(prune=PRUNE, quantize=QUANTIZE, artifact="int8.onnx"),
        drop=Drop(samples=400, top1=0.9 - drop, drop=drop, interval=span),
        macs=macs,
        size_bytes=size_bytes,
        latency_ns=latency_ns,
        latency_interval=Interval(low=0.9e6, high=1.2e6, confidence=0.9, method="made up") if latency_ns else None,
    )


def records(*findings: Finding) -> list[Record]:
    return [Record(trial=number, finding=found) for number, found in enumerate(findings, start=1)]


def test_no_point_of_a_front_is_beaten_by_another() -> None:
    # drop and size: 2 is beaten by 1, and 5 by 3; 6 is equal to 3.
    found = records(
        finding(0.0, 900),
        finding(0.001, 950),
        finding(0.01, 500),
        finding(0.05, 100),
        finding(0.02, 600),
        finding(0.01, 500),
    )
    assert [point.trial for point in front(found, "size")] == [4, 3, 1]


def test_a_front_is_of_what_is_minimised() -> None:
    found = records(finding(0.01, 900, macs=10), finding(0.0, 100, macs=20))
    assert [point.trial for point in front(found, "macs")] == [1, 2]
    assert [point.trial for point in front(found, "size")] == [2]


def test_trials_without_figures_are_not_on_a_front() -> None:
    failed = Record(trial=2, failed=True, reason="the network has no batch norm")
    assert [point.trial for point in front([*records(finding(0.0, 900)), failed], "size")] == [1]


def test_what_was_not_measured_cannot_be_minimised() -> None:
    with pytest.raises(ValueError, match="latency was not measured"):
        front(records(finding(0.0, 900)), "latency")


def test_the_least_that_holds_is_chosen_and_the_limit_itself_holds() -> None:
    points = front(records(finding(0.0, 900), finding(0.01, 500), finding(0.05, 100)), "size")
    assert choice(points, 0.01) == Choice(point=points[1], holds=True)
    assert choice(points, 0.0099).point.trial == 1
    assert choice(points, 0.05).point.trial == 3


def test_where_none_holds_the_one_that_loses_least_is_chosen_and_this_is_said() -> None:
    points = front(records(finding(0.03, 900), finding(0.05, 100)), "size")
    chosen = choice(points, 0.01)
    assert chosen == Choice(point=points[-1], holds=False)
    assert table.verdict(chosen, Wish(objective="size")) == (
        "No trial holds 1 points; trial 1 is packed, which loses least: +3.00. More --trials, or a larger --max-drop."
    )


def test_a_plan_is_told_in_words() -> None:
    plan = Plan(prune=PRUNE, quantize=QUANTIZE, artifact="int8.onnx")
    assert described(plan) == (
        "channels by taylor: 25 % of stack1, 62.5 % of stack3; int8.onnx, qdq, ranges by mse, per tensor, equalized"
    )
    plain = Plan(prune=None, quantize=Quantize(), artifact="int8.torchscript")
    assert described(plain) == "unpruned; int8.torchscript, fx, ranges by min-max"
    assert described(Plan(prune=None, quantize=None, artifact="fp16.onnx")) == "unpruned; fp16.onnx"


def test_the_page_has_the_front_the_choice_and_what_became_of_the_others() -> None:
    wish = Wish(objective="latency", max_drop=1.0)
    found = [
        *records(finding(0.0, 2048, latency_ns=2e6), finding(0.01, 1024, latency_ns=1e6)),
        Record(trial=3, reason="9.00 points were lost before it was quantized, and 1 may be lost in all"),
        Record(trial=4, failed=True, reason="the network has no batch norm"),
    ]
    points = front(found, "latency")
    shown = as_markdown(table.page("resnet8 for x86", wish, found, points, choice(points, 0.01)))
    assert shown.startswith("### resnet8 for x86, tuned for latency at a drop of at most 1 point\n")
    head, _, first, second = ([cell.strip() for cell in line.strip("|").split("|")] for line in shown.splitlines()[2:6])
    names = ["trial", "what was done", "points lost", "interval", "MACs", "size", "latency, minimised", "its interval"]
    assert head == names
    assert [first[0], *first[2:]] == [
        "**2**", "+1.00", "0.00 to +2.00", "1,000", "1.00 KiB", "1.000 ms", "0.900\u20131.200"
    ]  # fmt: skip
    assert [second[0], second[2], second[5]] == ["1", "0.00", "2.00 KiB"]
    assert "4 trials: 2 ended, 1 stopped early, 1 failed." in shown
    assert "Chosen: trial 2, the least latency of those that hold 1 points." in shown
    assert "Stopped early\n\n- trial 3: 9.00 points were lost before" in shown
    assert "Failed\n\n- trial 4: the network has no batch norm\n" in shown


def test_columns_without_figures_are_left_out() -> None:
    found = records(finding(0.0, 2048, macs=None))
    points = front(found, "size")
    shown = as_markdown(table.page("net for x86", Wish(objective="size"), found, points, choice(points, 0.01)))
    assert "MACs" not in shown
    assert "latency" not in shown


def test_a_trial_is_told_in_one_line() -> None:
    done = Record(trial=1, finding=finding(0.012, 1024, latency_ns=1e6))
    figure, words = table.line(done)
    assert figure == "+1.20 pt"
    assert words.startswith("1.00 KiB, 1,000 MACs, 1.000 ms; channels by taylor: ")
    assert table.line(Record(trial=2, failed=True, reason="too wide")) == ("failed", "too wide")
    assert table.line(Record(trial=2, reason="too bad")) == ("stopped", "too bad")


def test_a_point_is_a_record_with_figures() -> None:
    (record,) = records(finding(0.0, 900))
    assert record.finding is not None
    assert front([record], "size") == (Point(trial=1, finding=record.finding),)
