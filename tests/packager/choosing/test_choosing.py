"""What stays in a bundle of all that was made: timed where the host can, by rule where it cannot."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

import packager.timing
import targets
from packager import choosing, making, prepared, recipe
from packager.candidates import candidate
from packager.choosing import Choice, timing
from packager.data import Splits
from packager.network import Network
from packager.origin import Origin
from runner import device
from runner.errors import MeasurementError
from runner.manifest import LeftOut, Target
from runner.measure.latency import Plan
from runner.measure.rounds import instruments
from runner.worker.order import Job, Timing
from runner.workers import Subprocesses, Timed, ignore_window
from tests import contexts

X86, ARM = targets.load("x86"), targets.load("arm-qnnpack")
HERE = X86 if device.facts().machine == "x86_64" else ARM
ELSEWHERE = ARM if HERE is X86 else X86
SHORT = Plan(processes=1, warmup_s=0.01, timed_s=0.01)
NOT_MADE = LeftOut(name="int4-weights.onnx", what="no layer has blocks of 32", advice="int8.onnx")

Choosing = Callable[[Target, recipe.Choose | None], Choice]


@pytest.fixture
def chosen(trained: nn.Module, few_splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Choosing:
    """Return what makes a target's artifacts and chooses of them."""
    monkeypatch.setattr(timing, "FIRST_LOOK", SHORT)
    monkeypatch.setattr(timing, "SECOND_LOOK", replace(SHORT, processes=2))

    def call(target: Target, plan: recipe.Choose | None) -> Choice:
        bench = contexts.bench(few_splits, tmp_path, recipe.Recipe(quantize=recipe.Quantize(), choose=plan))
        start = Origin(name="net", trained=Network(model=trained, key="net"), bench=bench)
        shared = prepared.prepare(start, tmp_path)
        made, left_out = making.make(target, shared)
        assert left_out == ()
        return choosing.choose(target, shared, made, [NOT_MADE])

    return call


def kept(choice: Choice) -> list[str]:
    """Return the names of what goes into the bundle."""
    names = [each.name for each in choice.made]
    assert sorted(names) == sorted(each.name for each in choice.contenders if each.kept)
    return names


def test_where_the_host_can_run_it_the_best_stay_with_the_figures_of_all(chosen: Choosing) -> None:
    found = chosen(HERE, recipe.Choose(keep=1))
    *contenders, failed = found.contenders
    assert {each.name for each in contenders} == {each.name for each in HERE.artifacts}
    costs = [each.cost_ns for each in contenders if each.cost_ns is not None]
    assert costs == sorted(costs)
    assert len(costs) == len(contenders)
    fastest = contenders[0]
    assert fastest.why.startswith("the fastest")
    assert fastest.interval is not None
    others = {each.name: each.why for each in contenders if each.name not in ("fp32.onnx", fastest.name)}
    # Where the reference itself is the fastest, the place beside it goes to another that is not slower integers.
    assert set(kept(found)) >= {"fp32.onnx", fastest.name}
    assert len(kept(found)) <= 2
    for name in set(others) - set(kept(found)):
        assert re.search(r"^slower than fp32|as right, or better$|beyond the 1 that are kept$", others[name])
    assert (failed.name, failed.kept, failed.size_bytes) == ("int4-weights.onnx", False, None)
    assert failed.why == "left out: no layer has blocks of 32"


def test_what_another_machine_must_time_is_kept_by_rule(chosen: Choosing) -> None:
    found = chosen(replace(ELSEWHERE, artifacts=(*ELSEWHERE.artifacts, candidate("fp16.onnx"))), recipe.Choose())
    assert [each.cost_ns for each in found.contenders] == [None] * len(found.contenders)
    whys = {each.name: each.why for each in found.contenders}
    if ELSEWHERE is ARM:
        assert kept(found) == ["fp32.onnx", "int8.onnx", "int8.torchscript"]
    assert whys["fp32.onnx"] == "the reference"
    assert whys["int8.onnx"] == "one of its runtime, by rule: this host cannot time it, and the device decides"
    assert whys["fp16.onnx"] == "its runtime has another with fewer bits, or listed before it"
    fewer = chosen(ELSEWHERE, recipe.Choose(keep=1))
    assert kept(fewer) == ["fp32.onnx", "int8.onnx"]
    assert {each.name: each.why for each in fewer.contenders}["int8.torchscript"] == (
        "the 1 that are kept are of runtimes known as faster there"
    )


def test_without_a_wish_to_choose_all_that_was_made_stays(chosen: Choosing) -> None:
    found = chosen(HERE, None)
    assert [each.name for each in found.made] == [each.name for each in HERE.artifacts]
    assert found.contenders == ()


class OneDies(Subprocesses):
    """Workers of which those of TorchScript die as soon as they are timed."""

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Time all others."""
        if job.format == "torchscript":
            raise MeasurementError("the worker process was killed by signal 4 (SIGILL)")
        return super().time(job, timing, window)


def test_what_cannot_be_timed_is_not_kept_and_says_why(chosen: Choosing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packager.timing, "instruments", lambda: instruments(OneDies()))
    found = {each.name: each for each in chosen(HERE, recipe.Choose()).contenders}
    assert found["int8.onnx"].cost_ns is not None
    assert not found["int8.torchscript"].kept
    assert found["int8.torchscript"].why == (
        "its time cannot be told: the worker process was killed by signal 4 (SIGILL)"
    )


class SlowIntegers(Subprocesses):
    """Workers on which every call of what has integers takes five times as long."""

    def time(self, job: Job, timing: Timing, window: Callable[[bool], None] = ignore_window) -> Timed:
        """Time all, with what is added."""
        slow = any(part.startswith("int8") for part in job.file.parts)
        return super().time(job, replace(timing, slowdown=4.0) if slow else timing, window)


def test_integers_that_are_slower_than_fp32_are_not_kept_for_their_size(
    chosen: Choosing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packager.timing, "instruments", lambda: instruments(SlowIntegers()))
    found = chosen(HERE, recipe.Choose())
    assert not any(name.startswith("int8") for name in kept(found))
    fastest = next(each for each in found.contenders if each.kept)
    for each in found.contenders:
        if each.name.startswith("int8") and each.cost_ns and fastest.cost_ns:
            assert each.why == (
                f"slower than {fastest.name}: it takes {each.cost_ns / fastest.cost_ns:.2f} times as long"
            )
            assert each.interval is not None
