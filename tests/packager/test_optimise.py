"""A whole search: files that are made, run and timed by the runner, what goes into the recipe, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import targets
from packager import artifacts, recipe
from packager.builders import onnx as onnx_builder
from packager.cache import Cache
from packager.candidates import OPTIMISED
from packager.check import compare
from packager.cli import pack
from packager.data import Splits
from packager.optimise import search as searching
from packager.optimise import trial
from packager.optimise.material import material
from packager.optimise.trial import Plans
from packager.optimise.units import kinds
from packager.train import logits
from runner import edge
from runner.bundle import open_bundle
from runner.errors import StepError
from runner.interval import Interval
from runner.measure.latency import Plan
from tests import contexts, onnx_files
from tests.packager.squeeze_excite import net

X86 = targets.load("x86")
SHORT = Plan(processes=3, warmup_s=0.01, timed_s=0.01, until_precise=False)
LAST = Plan(processes=5, warmup_s=0.01, timed_s=0.01, until_precise=False)


def plan(nodes: tuple[str, ...], operators: recipe.OnnxOperators = "qdq") -> recipe.Recipe:
    """Return a recipe that knows already what stays in fp32."""
    found = {OPTIMISED.name: recipe.Assignment(operators=operators, fp32=nodes)}
    return recipe.Recipe(quantize=recipe.Quantize(), optimise=recipe.Optimise(for_s=1, found=found))


def excited(splits: Splits, folder: Path) -> tuple[str, ...]:
    """Return the nodes of the squeeze-excite's own operators."""
    found = material(onnx_builder.divisible(contexts.context(net(), contexts.bench(splits, folder)), X86))
    names = {name for kind in ("Mul", "HardSigmoid", "pointwise Conv") for name in kinds(found.units).get(kind, ())}
    return tuple(node for unit in found.units if unit.name in names for node in unit.nodes)


@pytest.mark.parametrize("operators", ["qdq", "qoperator"])
def test_what_is_left_in_fp32_is_no_integer_and_the_answers_hold(
    operators: recipe.OnnxOperators, few_splits: Splits, tmp_path: Path
) -> None:
    nodes = excited(few_splits, tmp_path)
    made = [
        artifacts.build(OPTIMISED, contexts.context(net(), contexts.bench(few_splits, tmp_path / each, asked)), X86)
        for each, asked in (
            ("one", plan(nodes, operators)),
            ("other", plan(nodes, operators)),
            ("all", plan((), operators)),
        )
    ]
    one, other, whole = (each.file.read_bytes() for each in made)
    assert one == other != whole
    assert made[0].artifact.path == "artifacts/int8-optimised.onnx"
    kept = {node.name: node for node in onnx.load_from_string(one).graph.node if node.name in nodes}
    rounded = {
        name
        for node in onnx.load_from_string(one).graph.node
        if node.op_type == "DequantizeLinear"
        for name in node.output
    }
    assert {node.op_type for node in kept.values()} >= {"Conv", "Mul"}
    # The weights of a layer that stays are not even rounded.
    assert not any(node.input[1] in rounded for node in kept.values() if node.op_type == "Conv")
    answers = onnx_files.run(one, few_splits.preprocess.apply(few_splits.evaluation.array()))
    expected = logits(net(), few_splits.evaluation, few_splits.preprocess).numpy()
    assert compare(answers, expected).snr_db > 20


def test_nothing_left_in_fp32_is_the_usual_file(few_splits: Splits, tmp_path: Path) -> None:
    context = contexts.context(net(), contexts.bench(few_splits, tmp_path, plan(())))
    usual = replace(OPTIMISED, style="")
    assert artifacts.build(OPTIMISED, context, X86).file.read_bytes() == (
        artifacts.build(usual, context, X86).file.read_bytes()
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (plan(("*",)), "int8 brings nothing here: fp32 is faster"),
        (plan(("nothing",)), "'nothing' names no node that can be in int8"),
        (recipe.Recipe(quantize=recipe.Quantize()), "nothing has been found to leave in fp32"),
    ],
)
def test_what_cannot_be_made_is_told(asked: recipe.Recipe, message: str, few_splits: Splits, tmp_path: Path) -> None:
    context = contexts.context(net(), contexts.bench(few_splits, tmp_path, asked))
    with pytest.raises(StepError) as error:
        artifacts.build(OPTIMISED, context, X86)
    assert error.value.what == message


def test_ranges_are_collected_once_for_whatever_stays_in_fp32(few_splits: Splits, tmp_path: Path) -> None:
    first = material(onnx_builder.divisible(contexts.context(net(), contexts.bench(few_splits, tmp_path)), X86))
    kept = recipe.Quantize(operators="qoperator", keep_fp32=("stem",))
    again = material(onnx_builder.divisible(contexts.context(net(), contexts.bench(few_splits, tmp_path), kept), X86))
    assert Cache(folder=tmp_path).folder.joinpath("calibrated").is_dir()
    assert len(list(tmp_path.glob("calibrated/*"))) == 1
    assert again.ranges == first.ranges
    assert {unit.layer for unit in first.units if unit.kind == "Conv"} == {"stem"}
    assert [unit for unit in again.units if unit.kind == "Conv"] == []
    assert (first.forms, again.forms) == (("qdq", "qoperator"), ("qoperator", "qdq"))


def run(*arguments: object) -> int:
    return edge.run(pack, [str(each) for each in arguments], program="pack")


@pytest.fixture
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "PLANS", Plans(trial=SHORT, final=LAST))


def halves(_: Sequence[float], __: Sequence[float], confidence: float = 0.95) -> tuple[float, Interval]:
    """Find everything twice as fast: a real time may fall either way."""
    return 0.5, Interval(low=0.4, high=0.6, confidence=confidence, method="oracle")


@pytest.mark.usefixtures("own_cache", "short_measuring", "_brief")
def test_what_is_found_is_packed_shown_and_packed_again_by_its_own_recipe(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "paired_ratio", halves)
    what = ("--target", "x86", "--model", "small_cnn", "--data", few_images, "--epochs", "0", "--max-drop", "50")
    few = ("--eval-samples", "20", "--calibration-samples", "16", "--candidates", "fp32.onnx,int8-optimised.onnx")
    asked = (*what, *few)
    # So little time that the first trial alone is begun: all in int8.
    assert run(*asked, "--optimise-for", "0.1s", "-o", tmp_path / "one") == 0
    _, err = capfd.readouterr()
    assert "0.50x  all in int8: taken" in err
    path = tmp_path / "one" / "small_cnn-x86.edgepack"
    bundle = open_bundle(path)
    assert [each.name for each in bundle.manifest.artifacts] == ["fp32.onnx", OPTIMISED.name]
    host = bundle.host_report()
    assert host is not None
    assert host.packing is not None
    (search,) = host.packing.optimised
    assert (search.artifact, search.fp32, [each.accepted for each in search.tried]) == (OPTIMISED.name, {}, [True])
    assert [each.what for each in search.speeds] == ["fp32", "all in int8", "optimised"]
    assert [each.artifact for each in host.packing.budgets] == [OPTIMISED.name]
    assert "int8-optimised.onnx: 1 trial in " in err
    # Its own recipe makes it without a search.
    assert run("inspect", path, "--recipe") == 0
    text, _ = capfd.readouterr()
    assert '[optimise.found."int8-optimised.onnx"]' in text
    again = tmp_path / "again.toml"
    again.write_text(text, encoding="utf-8")
    monkeypatch.setattr(trial, "paired_ratio", None)
    assert run("--target", "x86", "--recipe", again, "-o", tmp_path / "two") == 0
    assert open_bundle(tmp_path / "two" / path.name).manifest == bundle.manifest


@pytest.mark.usefixtures("own_cache", "short_measuring", "_brief")
def test_where_fp32_is_faster_the_bundle_says_so(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(trial, "paired_ratio", lambda *_: (2.0, None))
    what = ("--target", "x86", "--target", "arm-qnnpack", "--model", "small_cnn", "--data", few_images, "--epochs", "0")
    candidates = ("--candidates", "fp32.onnx,int8-optimised.onnx", "--optimise-for", "1s")
    assert run(*what, *candidates, "-o", tmp_path) == 0
    err = capfd.readouterr().err
    manifest = open_bundle(tmp_path / "small_cnn-x86.edgepack").manifest
    assert [each.name for each in manifest.artifacts] == ["fp32.onnx"]
    (left,) = manifest.left_out
    assert (left.name, left.what) == (OPTIMISED.name, "int8 brings nothing here: fp32 is faster")
    assert "int8-optimised.onnx: nothing that was tried is faster than fp32, and right; it is left out." in err
    (other,) = open_bundle(tmp_path / "small_cnn-arm-qnnpack.edgepack").manifest.left_out
    assert other.what == "the latency of aarch64 cannot be measured on this machine, which is x86_64"


@pytest.mark.usefixtures("own_cache", "short_measuring", "_brief")
def test_what_is_found_by_real_times_answers_as_it_should_or_is_left_out(
    few_splits: Splits, few_images: Path, tmp_path: Path
) -> None:
    what = ("--target", "x86", "--model", "small_cnn", "--data", few_images, "--epochs", "0")
    assert run(*what, "--candidates", "fp32.onnx,int8.onnx", "--optimise-for", "4s", "-o", tmp_path) == 0
    bundle = open_bundle(tmp_path / "small_cnn-x86.edgepack")
    host = bundle.host_report()
    assert host is not None
    assert host.packing is not None
    (search,) = host.packing.optimised
    assert search.tried[0].what == "all in int8"
    accepted = [each for each in search.tried if each.accepted]
    assert all(each.validation and each.validation.samples == len(few_splits.validation) for each in accepted)
    if search.speeds:
        assert accepted
        confirmed = search.speeds[-1].interval_of_ratio
        assert confirmed is not None
        assert confirmed.high < 1
        report = host.artifact(OPTIMISED.name)
        assert report is not None
        assert report.accuracy is not None
        assert report.accuracy.snr_db is not None
        assert report.accuracy.snr_db > 10
        assert sum(search.int8.values()) > 0
    else:
        assert [each.name for each in bundle.manifest.left_out] == [OPTIMISED.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--optimise-for", "soon"],
            "Error: Invalid value for '--optimise-for': 'soon' is no time: write 120s, 2m or 90",
        ),
        (["--optimise-for", "0s"], "Error: Invalid value for '--optimise-for': '0s' is no time: write 120s, 2m or 90"),
        (
            ["--candidates", "fp32.onnx,int8-optimised.onnx"],
            "error: int8-optimised.onnx and no time for its search: --optimise-for 120s, or leave it out",
        ),
        (
            ["--optimise-for", "2m", "--quantize", "dynamic"],
            "error: --optimise-for and dynamic quantization: it starts from calibrated ranges; --quantize static",
        ),
        (
            ["--optimise-for", "2m", "--quantize", "qat"],
            "error: --optimise-for and QAT: it learns with all in int8; --quantize static",
        ),
        (
            ["--optimise-for", "90", "--quantize", "none"],
            "error: --optimise-for and no quantization: it is about what of int8 stays in fp32; --quantize static",
        ),
        (["--set", "optimise.found={}"], "error: --set optimise.found: there is no [optimise] that this could be for"),
        (["--set", "optimise.for_s=-1"], "error: optimise.for_s: expected a number of seconds above 0, got -1.0"),
    ],
)
def test_what_no_search_can_do_is_refused_before_it_begins(
    arguments: list[str], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("--target", "x86", *arguments, "-o", tmp_path) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert message in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


def test_another_machines_latency_is_no_figure_to_search_by(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("--target", "arm-qnnpack", "--optimise-for", "2m", "-o", tmp_path) == 2
    assert capfd.readouterr().err == (
        "error: --optimise-for and arm-qnnpack: the latency of aarch64 cannot be measured on this machine, which is "
        "x86_64; leave it out\n"
    )


def test_a_search_for_the_fastest_network_is_no_place_for_it(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("tune", "--target", "x86", "--candidates", "fp32.onnx,int8-optimised.onnx", "-o", tmp_path) == 2
    assert capfd.readouterr().err == (
        "error: int8-optimised.onnx: a search of its own makes it, that of `pack --optimise-for`; int8.onnx\n"
    )


def test_times_are_read_with_their_units() -> None:
    from packager.cli_options import Seconds  # noqa: PLC0415

    read = [Seconds().convert(text, None, None) for text in ("90", "120s", "2m", "1.5 min", "1h")]
    assert np.array_equal(read, [90, 120, 120, 90, 3600])
