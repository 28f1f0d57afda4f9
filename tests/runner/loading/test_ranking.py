"""Which artifact is tried first: what is preferred, what was fast on such a machine, then a rule; each says why."""

from dataclasses import replace
from pathlib import Path

import pytest

from runner.bundle import Bundle
from runner.loading.preference import Preference
from runner.loading.ranking import NOT_HELD, Candidate, ranking
from runner.manifest import Artifact
from tests import bundles, loadable, reports

HERE = reports.device()
PI = replace(reports.device("Cortex-A76", "aarch64"), features=("asimd", "asimddp"))
FASTER_INT8 = {"fp32.onnx": 100, "int8.torchscript": 60}
MEASURE = "bench-runner {path} -o report.json, and prefer='report.json'"
RULE = (
    "by rule, for no latency in the host's report says anything of it on this machine: integers first, where this CPU "
    "gains by them, then by what the runtimes are known for on such a machine"
)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    """Return a bundle without a host report."""
    return loadable.write(tmp_path)


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [each.artifact.name for each in candidates]


def test_without_a_preference_the_fastest_on_the_host_is_first(bundle: Bundle) -> None:
    found = loadable.measured(bundle, FASTER_INT8, fastest="int8.torchscript")
    first, second = ranking(loadable.with_report(bundle, found), Preference(), HERE)
    assert (first.artifact.name, first.reason, first.advice) == (
        "int8.torchscript",
        "the fastest in the host's report",
        "",
    )
    assert (second.artifact.name, second.reason) == ("fp32.onnx", "the next by latency in the host's report")


def test_a_host_of_another_cpu_counts_with_the_advice_to_measure_here(bundle: Bundle) -> None:
    found = loadable.measured(bundle, FASTER_INT8, fastest="int8.torchscript", device=reports.device("Other CPU"))
    first, _ = ranking(loadable.with_report(bundle, found), Preference(), HERE)
    assert first.artifact.name == "int8.torchscript"
    assert first.reason == "the fastest in the host's report, measured on Other CPU, x86_64"
    assert first.advice == MEASURE.format(path=bundle.path)


def test_a_host_of_another_architecture_has_no_say_and_a_rule_decides(bundle: Bundle) -> None:
    found = loadable.measured(bundle, {"fp32.onnx": 60, "int8.torchscript": 100}, fastest="fp32.onnx")
    engine = replace(loadable.INT8, engine="qnnpack")
    first, second = ranking(_with(loadable.with_report(bundle, found), loadable.FP32, engine), Preference(), PI)
    assert (first.artifact.name, first.reason) == ("int8.torchscript", RULE)
    assert first.advice == MEASURE.format(path=bundle.path)
    assert second.artifact.name == "fp32.onnx"


def test_a_host_report_without_a_fastest_has_no_say(bundle: Bundle) -> None:
    found = loadable.measured(bundle, FASTER_INT8, fastest=None)
    assert {each.reason for each in ranking(loadable.with_report(bundle, found), Preference(), HERE)} == {RULE}


def test_by_rule_integers_with_something_against_them_come_after_fp32(bundle: Bundle) -> None:
    # The engine of the first is meant for another machine, and its answers alone count here.
    qnnpack = replace(loadable.INT8, engine="qnnpack")
    assert names(ranking(_with(bundle, qnnpack, loadable.FP32), Preference(), HERE)) == [
        "fp32.onnx",
        "int8.torchscript",
    ]
    x86 = replace(loadable.INT8, engine="x86")
    assert names(ranking(_with(bundle, loadable.FP32, x86), Preference(), HERE)) == ["int8.torchscript", "fp32.onnx"]


def test_by_rule_half_precision_is_first_on_a_gpu_and_last_on_a_cpu(bundle: Bundle) -> None:
    half, plain = bundles.artifact("fp16"), bundles.artifact()
    assert names(ranking(_with(bundle, half, plain), Preference(), HERE)) == ["fp32.onnx", "fp16.onnx"]
    gpu = tuple(replace(each, device="cuda") for each in (plain, half))
    assert names(ranking(_with(bundle, *gpu), Preference(), HERE)) == ["fp16.onnx", "fp32.onnx"]


def test_an_artifact_whose_answers_did_not_hold_on_the_host_is_refused_unless_it_is_asked_for(bundle: Bundle) -> None:
    wrong = {"int8.torchscript": (1, 2, 3)}
    found = loadable.measured(bundle, FASTER_INT8, wrong=wrong, fastest="fp32.onnx")
    whole = loadable.with_report(bundle, found)
    first, second = ranking(whole, Preference(), HERE)
    assert (first.artifact.name, first.refused) == ("fp32.onnx", "")
    assert (second.artifact.name, second.refused) == ("int8.torchscript", NOT_HELD)
    asked, *_ = ranking(whole, Preference(name="int8.torchscript"), HERE)
    assert (asked.artifact.name, asked.refused, asked.reason) == ("int8.torchscript", "", "preferred by its name")


def test_a_report_that_is_preferred_is_before_the_hosts(bundle: Bundle) -> None:
    host = loadable.measured(bundle, FASTER_INT8, fastest="int8.torchscript")
    own = loadable.measured(bundle, {"fp32.onnx": 50}, fastest="fp32.onnx")
    found = ranking(loadable.with_report(bundle, host), Preference(report=own, source="own.json"), HERE)
    assert [(each.artifact.name, each.reason) for each in found] == [
        ("fp32.onnx", "the fastest in own.json"),
        ("int8.torchscript", "the fastest in the host's report"),
    ]


def _with(bundle: Bundle, *artifacts: Artifact) -> Bundle:
    """Return the bundle as if these artifacts were in it."""
    return replace(bundle, manifest=replace(bundle.manifest, artifacts=artifacts))
