"""The search itself, before a judge that knows the time of everything, and a clock that only trials move."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from packager.optimise.evidence import Evidence
from packager.optimise.greedy import Ratio, Search, Terms
from packager.optimise.proposals import Space
from packager.optimise.study import Confirmed, Profiled, Study
from packager.optimise.units import Division, Unit
from runner.errors import StepError
from runner.interval import Interval
from runner.packing import Drop, Speed

INT8_NS: Mapping[str, int] = {"conv": 20, "gemm": 10, "mul": 90, "cat": 70}
FP32_NS: Mapping[str, int] = {"conv": 100, "gemm": 30, "mul": 10, "cat": 20}


def unit(name: str) -> Unit:
    kind = name.capitalize()
    return Unit(name=name, nodes=(name, f"{name}_relu"), tensors=(name,), kind=kind, layer=f"{name}1.{name}")


UNITS = tuple(map(unit, INT8_NS))
SPACE = Space(
    units=UNITS,
    forms=("qdq", "qoperator"),
    evidence=Evidence(
        int8_ns={k: float(v) for k, v in INT8_NS.items()}, fp32_ns={k: float(v) for k, v in FP32_NS.items()}
    ),
)


def interval(estimate: float, reach: float = 0.01) -> Interval:
    return Interval(low=estimate - reach, high=estimate + reach, confidence=0.97, method="oracle")


@dataclass
class Oracle:
    """Knows the time of every division, and takes ten seconds for each trial."""

    int8_ns: Mapping[str, int] = field(default_factory=lambda: INT8_NS)
    harmful: frozenset[str] = frozenset()
    """Units whose integers cost a tenth of the answers, each."""
    now_s: float = 0.0
    trials: int = 0
    interrupt_after: int | None = None
    refuses: Callable[[Division], bool] = lambda _: False
    confirms: bool = True

    def clock(self) -> float:
        return self.now_s

    def time(self, division: Division) -> float:
        form = 30 if division.operators == "qoperator" and len(division.fp32) < len(UNITS) else 0
        return form + sum(FP32_NS[name] if name in division.fp32 else self.int8_ns[name] for name in INT8_NS)

    def ratio(self, new: Division, old: Division) -> Ratio:
        if self.interrupt_after == self.trials:
            raise KeyboardInterrupt
        self.trials += 1
        self.now_s += 10
        if self.refuses(new):
            raise StepError("it cannot be quantized")
        estimate = self.time(new) / self.time(old)
        return Ratio(estimate=estimate, interval=interval(estimate))

    def drop(self, division: Division) -> Drop:
        lost = 0.1 * len(self.harmful - division.fp32)
        return Drop(samples=100, top1=0.9 - lost, drop=lost, interval=interval(lost))

    def confirm(self, division: Division) -> tuple[Speed, ...]:
        self.now_s += 20
        fp32 = self.time(SPACE.fp32)
        ratio = self.time(division) / fp32 if self.confirms else 1.0
        return (
            Speed(what="fp32", median_ns=fp32, interval=interval(fp32)),
            Speed(
                what="optimised",
                median_ns=ratio * fp32,
                interval=interval(ratio * fp32),
                ratio=ratio,
                interval_of_ratio=interval(ratio),
            ),
        )


def search(path: Path, oracle: Oracle, for_s: float = 1000, max_drop: float = 0.01) -> Search:
    terms = Terms(max_drop=max_drop, for_s=for_s, clock=oracle.clock)
    return Search(space=SPACE, judge=oracle, study=Study(path / "study.jsonl"), terms=terms)


def tried(path: Path) -> list[tuple[str, bool]]:
    return [(each.what, each.accepted) for each in Study(path / "study.jsonl").outcomes]


def test_what_is_faster_is_taken_and_confirmed(tmp_path: Path) -> None:
    found = search(tmp_path, Oracle()).run()
    assert isinstance(found, Confirmed)
    assert found.assignment.fp32 == ("mul", "mul_relu", "cat", "cat_relu")
    assert found.speeds[-1].ratio == pytest.approx(60 / 160)
    assert tried(tmp_path)[:3] == [
        ("all in int8", False),
        ("all in int8, qoperator", False),
        ("in fp32 what is faster so by the profile", True),
    ]
    assert sum(accepted for _, accepted in tried(tmp_path)) == 1


def test_the_reason_of_each_that_was_not_taken_is_written_down(tmp_path: Path) -> None:
    oracle = Oracle(refuses=lambda division: division.operators == "qoperator")
    search(tmp_path, oracle).run()
    reasons = {each.what: each.reason for each in Study(tmp_path / "study.jsonl").outcomes}
    assert reasons["all in int8"] == "slower"
    assert reasons["all in int8, qoperator"] == "it cannot be quantized"
    assert reasons["in fp32 what is faster so by the profile"] == ""


def test_what_loses_accuracy_is_refused_and_the_search_goes_on_without_it(tmp_path: Path) -> None:
    found = search(tmp_path, Oracle(harmful=frozenset({"gemm"}))).run()
    assert found is not None
    assert "gemm" in found.assignment.fp32
    assert "conv" not in found.assignment.fp32
    outcomes = {each.what: each for each in Study(tmp_path / "study.jsonl").outcomes}
    assert outcomes["in fp32 what is faster so by the profile"].reason == "loses too much"
    assert outcomes["Conv in int8"].accepted


def test_each_trial_is_held_against_the_best_before_it(tmp_path: Path) -> None:
    found = search(tmp_path, Oracle(int8_ns={**INT8_NS, "cat": 0})).run()
    assert found is not None
    ratios = {each.what: each.ratio for each in Study(tmp_path / "study.jsonl").outcomes}
    assert ratios["all in int8"] == pytest.approx(120 / 160)
    assert ratios["in fp32 what is faster so by the profile"] == pytest.approx(60 / 120)
    assert [what for what, accepted in tried(tmp_path) if accepted] == [
        "all in int8",
        "in fp32 what is faster so by the profile",
    ]


def test_where_fp32_is_faster_nothing_is_found(tmp_path: Path) -> None:
    slow = dict.fromkeys(INT8_NS, 200)
    assert search(tmp_path, Oracle(int8_ns=slow)).run() is None
    assert not any(accepted for _, accepted in tried(tmp_path))


def test_what_cannot_be_confirmed_is_not_shipped_and_not_begun_from_again(tmp_path: Path) -> None:
    one = search(tmp_path, Oracle(confirms=False))
    assert one.run() is None
    assert one.best() == SPACE.fp32
    again = Oracle(confirms=False)
    assert search(tmp_path, again).run() is None


def test_no_trial_begins_that_cannot_end_in_time_but_the_first_always_does(tmp_path: Path) -> None:
    # Even where the profile has taken longer than all may take.
    Study(tmp_path / "study.jsonl").write(Profiled(evidence=SPACE.evidence, duration_s=2))
    short = Oracle()
    assert search(tmp_path, short, for_s=1).run() is None
    assert short.trials == 1
    # 10 s for each trial, and 20 s are left for the confirmation.
    longer = Oracle()
    search(tmp_path, longer, for_s=52.5).run()
    assert [what for what, _ in tried(tmp_path)] == [
        "all in int8",
        "all in int8, qoperator",
        "in fp32 what is faster so by the profile",
    ]
    assert longer.trials == 2


def test_a_search_that_was_interrupted_goes_on_as_one_that_was_not(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = search(tmp_path / "whole", Oracle()).run()
    (tmp_path / "parts").mkdir()
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "parts", Oracle(interrupt_after=2)).run()
    assert len(tried(tmp_path / "parts")) == 2
    rest = Oracle()
    assert search(tmp_path / "parts", rest).run() == whole
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert rest.trials == len(tried(tmp_path / "whole")) - 2


def test_a_search_that_has_ended_is_not_made_again(tmp_path: Path) -> None:
    first = search(tmp_path, Oracle()).run()
    again = Oracle()
    assert search(tmp_path, again).run() == first
    assert (again.trials, again.now_s) == (0, 0)


def test_half_a_line_is_forgotten_and_what_is_no_record_is_refused(tmp_path: Path) -> None:
    search(tmp_path, Oracle()).run()
    path = tmp_path / "study.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"outcome": {"wh')
    assert len(Study(path).lines) == len(whole.splitlines())
    assert path.read_bytes() == whole
    path.write_text("no JSON\n", encoding="utf-8")
    with pytest.raises(StepError, match="the record of the search cannot be used") as error:
        Study(path)
    assert error.value.advice == "remove it, and the search begins anew"


def test_clearly_faster_by_the_estimate_is_faster_without_an_interval() -> None:
    assert Ratio(estimate=0.9, interval=None).faster
    assert not Ratio(estimate=0.98, interval=None).faster
    assert not Ratio(estimate=0.98, interval=interval(0.98, 0.05)).faster
    assert Ratio(estimate=0.98, interval=interval(0.98)).faster
