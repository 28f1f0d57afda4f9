"""Static int8 networks of PyTorch, calibrated on real images and run by the target's engine."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
import torch
from torch import nn

import targets
from packager import recipe
from packager.check import compare
from packager.data import Splits
from packager.export import torchscript
from packager.quantize import Order, fx
from packager.quantize.calibration import Calibration
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Engine, Target
from runner.progress import Silent
from runner.runtimes import Options
from runner.runtimes import torchscript as runtime
from tests import modules
from tests.fakes import RecordingProgress
from tests.watched import WatchedCalibration

TARGETS = [targets.load("x86"), targets.load("arm-qnnpack")]
NAMES = [target.name for target in TARGETS]


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    """Start from an engine that no target here asks for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


@pytest.fixture
def calibration(few_splits: Splits) -> Calibration:
    """The calibration samples, 70 of them."""
    return Calibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())


def order(target: Target, calibration: Calibration, plan: recipe.Quantize | None = None) -> Order:
    """Return what is asked for."""
    return Order(target=target, plan=plan or recipe.Quantize(), calibration=calibration)


def exported(module: nn.Module, target: Target, calibration: Calibration, plan: recipe.Quantize | None = None) -> bytes:
    """Return the int8 network as a file."""
    example = torch.from_numpy(next(calibration.batches("", 1)))
    return torchscript.export(fx.quantize(module, order(target, calibration, plan)), example).content


def snr_db(module: nn.Module, content: bytes, target: Target, splits: Splits, folder: Path) -> float:
    """Return signal to noise of the answers that the runner gets from a file, against the network's own."""
    (folder / "int8.pt").write_bytes(content)
    torch.backends.quantized.engine = "fbgemm"
    session = runtime.load(folder / "int8.pt", Options(threads=1, engine=target.engine))
    answers = session.run(splits.preprocess.apply(splits.evaluation.array()))
    return compare(answers, logits(module, splits.evaluation, splits.preprocess).numpy()).snr_db


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_int8_network_answers_as_the_fp32_one_does(
    target: Target, trained: nn.Module, calibration: Calibration, few_splits: Splits, tmp_path: Path
) -> None:
    content = exported(trained, target, calibration)
    fp32 = torchscript.export(trained, torch.from_numpy(next(calibration.batches("", 1)))).content

    assert snr_db(trained, content, target, few_splits, tmp_path) >= 20
    assert len(content) <= 0.30 * len(fp32)


@pytest.mark.parametrize("kind", [modules.Residual, modules.OnePixel])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_shortcuts_reused_layers_and_single_pixels_are_borne(
    target: Target, kind: type[nn.Module], calibration: Calibration, few_splits: Splits, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    module = modules.settled(kind(), torch.from_numpy(next(calibration.batches("", 70))))

    assert snr_db(module, exported(module, target, calibration), target, few_splits, tmp_path) >= 20


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_depthwise_kernels_do_not_saturate(target: Target, calibration: Calibration, few_splits: Splits) -> None:
    torch.manual_seed(0)
    depthwise = nn.Conv2d(128, 128, 3, groups=128)
    nn.init.uniform_(depthwise.weight, 0.9, 1)  # neighbours that are both large, and add up
    pooled = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4))
    module = nn.Sequential(nn.Conv2d(1, 128, 3), nn.ReLU(), depthwise, *pooled).eval()
    quantized = fx.quantize(module, order(target, calibration))

    found, expected = (
        logits(each, few_splits.evaluation, few_splits.preprocess).numpy() for each in (quantized, module)
    )
    assert compare(found, expected).snr_db >= 20


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_scales_of_weights_follow_the_target(
    target: Target, per_channel: bool, trained: nn.Module, calibration: Calibration
) -> None:
    quantized = fx.quantize(trained, order(replace(target, per_channel=per_channel), calibration))

    scheme = torch.per_channel_affine if per_channel else torch.per_tensor_affine
    weights = [quantized.get_submodule(name).weight() for name in ("conv1", "conv2", "hidden", "linear")]  # type: ignore[operator]  # of quantized layers, a method
    assert {weight.qscheme() for weight in weights} == {scheme}
    assert {weight.dtype for weight in weights} == {torch.qint8}


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize(
    "plan",
    [*(recipe.Quantize(ranges=ranges) for ranges in get_args(recipe.Ranges)), recipe.Quantize(symmetric=True)],
    ids=[*get_args(recipe.Ranges), "symmetric"],
)
def test_every_choice_of_ranges_answers_as_the_fp32_network_does(
    plan: recipe.Quantize,
    target: Target,
    trained: nn.Module,
    calibration: Calibration,
    few_splits: Splits,
    tmp_path: Path,
) -> None:
    content = exported(trained, target, calibration, plan)

    assert snr_db(trained, content, target, few_splits, tmp_path) >= 20


def test_the_recipe_comes_before_the_target_in_the_scales_of_weights(
    trained: nn.Module, calibration: Calibration
) -> None:
    quantized = fx.quantize(trained, order(TARGETS[0], calibration, recipe.Quantize(per_channel=False)))

    assert quantized.get_submodule("linear").weight().qscheme() == torch.per_tensor_affine  # type: ignore[operator]  # of quantized layers, a method


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
@pytest.mark.parametrize("pattern", ["conv1", "hidden", "lin*"])
def test_layers_that_the_recipe_keeps_stay_in_fp32(
    pattern: str, target: Target, trained: nn.Module, calibration: Calibration, few_splits: Splits, tmp_path: Path
) -> None:
    plan = recipe.Quantize(keep_fp32=(pattern,))
    quantized = fx.quantize(trained, order(target, calibration, plan))
    content = exported(trained, target, calibration, plan)

    in_fp32 = {name.split(".")[0] for name, layer in quantized.named_modules() if type(layer) in (nn.Conv2d, nn.Linear)}
    assert in_fp32 == {"linear" if pattern == "lin*" else pattern}
    assert snr_db(trained, content, target, few_splits, tmp_path) >= 20


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("conv", "did you mean 'conv2'?"),
        (
            "backbone.*",
            "names of the network's, such as conv1, norm1, relu1, pool1, conv2, ",
        ),
    ],
)
def test_a_pattern_that_names_no_layer_is_told(
    pattern: str, hint: str, trained: nn.Module, calibration: Calibration
) -> None:
    with pytest.raises(StepError) as caught:
        fx.quantize(trained, order(TARGETS[0], calibration, recipe.Quantize(keep_fp32=(pattern,))))

    assert str(caught.value).startswith(f"keep_fp32: {pattern!r} names no layer of the network\n  try: {hint}")


def test_leaving_every_layer_in_fp32_is_refused(trained: nn.Module, calibration: Calibration) -> None:
    with pytest.raises(StepError) as caught:
        fx.quantize(trained, order(TARGETS[0], calibration, recipe.Quantize(keep_fp32=("*",))))

    assert str(caught.value) == "keep_fp32: every layer stays in fp32\n  try: fewer patterns, or --quantize none"


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_the_engine_that_was_set_before_does_not_matter(
    target: Target, trained: nn.Module, calibration: Calibration
) -> None:
    files = []
    for engine in ("x86", "qnnpack"):
        torch.backends.quantized.engine = engine
        files.append(exported(trained, target, calibration))

    assert files[0] == files[1]


def test_the_engines_make_different_files(trained: nn.Module, calibration: Calibration) -> None:
    one, two = (exported(trained, target, calibration) for target in TARGETS)
    assert one != two


def test_calibration_sees_every_calibration_sample_once_in_strides_as_the_network_does(
    trained: nn.Module, few_splits: Splits
) -> None:
    progress = RecordingProgress()
    watched = WatchedCalibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=progress)
    fx.quantize(trained, order(TARGETS[0], watched))

    assert [len(batch) for batch in watched.batches_seen] == [32, 32, 6]
    expected = few_splits.preprocess.apply(few_splits.calibration.array())
    assert np.array_equal(np.concatenate(watched.batches_seen), expected)
    assert progress.tasks == [("calibrate x86", 70, 70)]
    assert max(watched.held) <= 2  # the example, and the one in work


def test_ranges_follow_every_stride_of_the_calibration_samples(
    trained: nn.Module, calibration: Calibration, few_splits: Splits
) -> None:
    first = replace(calibration, samples=few_splits.calibration.subset(np.arange(32)))
    one, two = (exported(trained, TARGETS[1], each) for each in (calibration, first))

    assert one != two


def test_the_network_is_left_as_it_was(trained: nn.Module, calibration: Calibration) -> None:
    before = {name: value.clone() for name, value in trained.state_dict().items()}
    fx.quantize(trained, order(TARGETS[0], calibration))

    assert trained.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in trained.state_dict().items())
    assert type(trained.get_submodule("conv1")) is nn.Conv2d


@pytest.mark.parametrize("target", TARGETS, ids=NAMES)
def test_a_layer_that_cannot_be_traced_is_named(target: Target, calibration: Calibration) -> None:
    with pytest.raises(StepError) as caught:
        fx.quantize(modules.Gated().eval(), order(target, calibration))

    assert str(caught.value) == (
        "the network cannot be quantized, in block.gate (Gate): "
        "TraceError: symbolically traced variables cannot be used as inputs to control flow\n"
        "  try: leave data-dependent `if`, loops over tensors and print out of forward(), or pack with --quantize none"
    )


def test_a_network_that_fails_on_the_calibration_samples_is_told(calibration: Calibration) -> None:
    with pytest.raises(StepError) as caught:
        fx.quantize(modules.FixedBatch().eval(), order(TARGETS[0], calibration))

    what, advice = str(caught.value).splitlines()
    assert what.startswith("the network cannot be quantized: RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert advice == "  try: leave the layer in fp32, with --keep-fp32, or pack with --quantize none"


def test_an_engine_that_this_torch_has_not_is_told_with_those_that_it_has(
    trained: nn.Module, calibration: Calibration
) -> None:
    with pytest.raises(StepError) as caught:
        fx.quantize(trained, order(replace(TARGETS[0], engine=cast("Engine", "tpu")), calibration))

    what, advice = str(caught.value).splitlines()
    assert what.startswith("x86: this build of torch has no quantization engine 'tpu', but ")
    assert {"x86", "qnnpack"} <= set(what.rpartition("but ")[2].split(", "))
    assert advice == "  try: pack on an x86-64 host"


def test_nothing_is_printed(trained: nn.Module, calibration: Calibration, capfd: pytest.CaptureFixture[str]) -> None:
    for target in TARGETS:
        exported(trained, target, calibration)

    assert capfd.readouterr() == ("", "")
