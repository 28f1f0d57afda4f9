"""The files that targets ask for: made by the road for each, run by the runner, found again, the same everywhere."""

import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import models
import targets
from packager import artifacts, builders, candidates, data, recipe
from packager.artifacts import Built, build
from packager.builders import BuildContext
from packager.check import Agreement, check, compare
from packager.data import Splits
from packager.train import logits
from runner.errors import StepError
from runner.manifest import Artifact, Candidate, Format, Target
from runner.progress import Silent
from runner.runtimes import Options, load_runtime
from tests import contexts, modules
from tests.every_file import every_file

ROOT = Path(__file__).parent.parent.parent
X86, ARM, CUDA = (targets.load(name) for name in ("x86", "arm-qnnpack", "cuda"))
FP32_ONNX = Candidate(precision="fp32", format="onnx")
INT8_ONNX = Candidate(precision="int8", format="onnx")
INT8_TORCHSCRIPT = Candidate(precision="int8", format="torchscript")
ALL = [(target, candidate) for target in (X86, ARM, CUDA) for candidate in target.artifacts]
NAMES = [f"{target.name} {candidate.name}" for target, candidate in ALL]

Table = Mapping[tuple[str, str], Built]


@pytest.fixture(autouse=True)
def _engine() -> Iterator[None]:
    """Start from an engine that no target here asks for."""
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    yield
    torch.backends.quantized.engine = before


def context_of(module: nn.Module, splits: Splits, folder: Path) -> BuildContext:
    """Return a context for a network, which its class stands for in the cache."""
    return contexts.context(module, contexts.bench(splits, folder))


def otherwise(context: BuildContext, **changed: Any) -> BuildContext:
    """Return a context that has other data, or follows another recipe."""
    return replace(context, bench=replace(context.bench, **changed))


@pytest.fixture(scope="module")
def context(trained: nn.Module, few_splits: Splits, tmp_path_factory: pytest.TempPathFactory) -> BuildContext:
    """The trained network, and a cache that the tests of this module share."""
    return context_of(trained, few_splits, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture(scope="module")
def built(context: BuildContext) -> Table:
    """Every artifact of every target, in the order in which one pack makes them."""
    return {(target.name, candidate.name): build(candidate, context, target) for target, candidate in ALL}


def run(found: Built, target: Target, splits: Splits) -> NDArray[np.float32]:
    """Return the runner's answers on this machine's CPU."""
    artifact = found.artifact
    options = Options(threads=1, engine=artifact.engine, exact_int8=target.machine == "aarch64")
    session = load_runtime(artifact.format).load(found.file, options)
    inputs = splits.preprocess.apply(splits.evaluation.array())
    if artifact.dynamic_batch:
        return session.run(inputs)
    return np.concatenate([session.run(inputs[index : index + 1]) for index in range(len(inputs))])


def agreement(found: Built, target: Target, module: nn.Module, splits: Splits) -> Agreement:
    """Return how near the runner's answers are to those of the network itself."""
    reference = logits(module, splits.evaluation, splits.preprocess).numpy()
    return compare(run(found, target, splits), reference)


def test_there_is_a_road_for_all_that_a_target_may_ask_for() -> None:
    assert set(builders.BUILDERS) == set(candidates.NAMES.values())
    assert set(artifacts.SUFFIXES) == set(artifacts.MAKERS) == set(get_args(Format))


@pytest.mark.parametrize(("target", "candidate"), ALL, ids=NAMES)
def test_every_artifact_is_run_by_the_runner_and_answers_as_the_network_does(
    target: Target, candidate: Candidate, built: Table, trained: nn.Module, few_splits: Splits
) -> None:
    found = built[target.name, candidate.name]
    answers = run(found, target, few_splits)

    reference = logits(trained, few_splits.evaluation, few_splits.preprocess).numpy()
    assert answers.dtype == np.float32
    near = check(candidate.name, candidate.precision, answers, reference, few_splits.evaluation.labels)
    assert near.snr_db >= {"fp32": 100, "fp16": 50, "int8": 20}[candidate.precision]
    assert near.agreement >= 0.95


@pytest.mark.parametrize(("target", "candidate"), ALL, ids=NAMES)
def test_what_is_to_be_known_of_a_file_is_recorded(target: Target, candidate: Candidate, built: Table) -> None:
    precision, form = candidate.precision, candidate.format
    makers = ("torch", "torchao", "onnx", "onnxscript", "onnxruntime") if form == "onnx" else ("torch",)
    engines = {"x86 int8.torchscript": "x86", "arm-qnnpack int8.torchscript": "qnnpack"}
    suffix = "onnx" if form == "onnx" else "torchscript.pt"

    assert built[target.name, candidate.name].artifact == Artifact(
        name=candidate.name,
        path=f"artifacts/{precision}.{suffix}",
        precision=precision,
        format=form,
        device="cuda" if target.name == "cuda" else "cpu",
        machines=("x86_64",) if f"{target.name} {candidate.name}" == "x86 int8.torchscript" else (),
        engine=engines.get(f"{target.name} {candidate.name}"),  # type: ignore[arg-type]  # of these two
        opset=20 if form == "onnx" else None,
        dynamic_batch=True,
        made_with={name: importlib.metadata.version(name) for name in makers},
    )


@pytest.mark.parametrize(("target", "candidate"), ALL, ids=NAMES)
def test_int8_is_at_most_three_tenths_and_fp16_half_of_the_fp32_file(
    target: Target, candidate: Candidate, built: Table
) -> None:
    fp32 = built["x86", f"fp32.{candidate.format}"].file.stat().st_size
    size = built[target.name, candidate.name].file.stat().st_size

    assert size <= {"fp32": 1.0, "fp16": 0.51, "int8": 0.30}[candidate.precision] * fp32


@pytest.mark.parametrize(("target", "candidate"), ALL, ids=NAMES)
def test_no_path_of_this_machine_is_in_a_file(target: Target, candidate: Candidate, built: Table) -> None:
    content = built[target.name, candidate.name].file.read_bytes()
    for path in (str(ROOT), sys.prefix, str(Path.home()) + "/", "site-packages", "edgepack-"):
        assert path.encode() not in content


def test_fp32_files_are_shared_by_targets_and_int8_files_are_their_own(built: Table) -> None:
    assert [built[name, "fp32.onnx"].cached for name in ("x86", "arm-qnnpack", "cuda")] == [False, True, True]
    assert len({built[name, "fp32.onnx"].file for name in ("x86", "arm-qnnpack", "cuda")}) == 1
    assert built["x86", "fp32.torchscript"].file == built["cuda", "fp32.torchscript"].file
    for name in ("int8.onnx", "int8.torchscript"):
        one, two = built["x86", name], built["arm-qnnpack", name]
        assert (one.cached, two.cached) == (False, False)
        assert one.file.read_bytes() != two.file.read_bytes()


@pytest.mark.parametrize(("target", "candidate"), ALL, ids=NAMES)
def test_a_file_that_was_made_is_found_again(
    target: Target, candidate: Candidate, built: Table, context: BuildContext
) -> None:
    first, again = built[target.name, candidate.name], build(candidate, context, target)

    assert again == replace(first, cached=True)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("network", {FP32_ONNX, INT8_ONNX, INT8_TORCHSCRIPT}),
        ("opset", {FP32_ONNX, INT8_ONNX}),
        ("method", {INT8_ONNX, INT8_TORCHSCRIPT}),
        ("calibration", {INT8_ONNX, INT8_TORCHSCRIPT}),
        ("preprocess", {FP32_ONNX, INT8_ONNX, INT8_TORCHSCRIPT}),
        ("seed", set()),
        ("title", set()),
    ],
)
def test_a_file_is_made_anew_where_what_it_depends_on_has_changed(
    name: str, changed: set[Candidate], built: Table, context: BuildContext
) -> None:
    splits = context.bench.splits
    other = {
        "network": replace(context, network=replace(context.network, key="another")),
        "opset": otherwise(context, recipe=recipe.Recipe(export=recipe.Export(opset=19))),
        "method": replace(context, quantize=recipe.Quantize(method="dynamic")),
        "calibration": otherwise(context, splits=replace(splits, sha256="1" * 64)),
        "preprocess": otherwise(context, splits=replace(splits, preprocess=replace(splits.preprocess, mean=(0.5,)))),
        # What neither the network nor the integers come from.
        "seed": otherwise(context, recipe=recipe.Recipe(seed=1, measure=recipe.Measure(threads=1))),
        "title": replace(context, name="half", title="half of it"),
    }[name]
    for candidate in (FP32_ONNX, INT8_ONNX, INT8_TORCHSCRIPT):
        found = build(candidate, other, X86)
        assert (found.file != built["x86", candidate.name].file) == (candidate in changed)
        assert found.cached == (candidate not in changed)


@pytest.mark.parametrize(
    "other",
    [
        replace(X86, per_channel=False),
        replace(X86, weight_type="uint8", per_channel=False),
        replace(X86, engine="onednn"),
    ],
)
def test_int8_is_made_anew_for_a_target_of_other_integers(other: Target, built: Table, context: BuildContext) -> None:
    found = build(INT8_ONNX, context, other)

    assert found.file != built["x86", "int8.onnx"].file
    assert build(FP32_ONNX, context, other).cached


def test_the_opset_of_the_recipe_is_in_the_file_and_in_the_record(context: BuildContext) -> None:
    found = build(FP32_ONNX, otherwise(context, recipe=recipe.Recipe(export=recipe.Export(opset=18))), X86)

    assert found.artifact.opset == 18
    assert onnx.load(found.file).opset_import[0].version == 18


@pytest.mark.parametrize("target", [X86, ARM], ids=["x86", "arm-qnnpack"])
def test_dynamic_quantization_goes_the_same_roads(
    target: Target, context: BuildContext, trained: nn.Module, few_splits: Splits
) -> None:
    dynamic = replace(context, quantize=recipe.Quantize(method="dynamic"))
    for candidate in (INT8_ONNX, INT8_TORCHSCRIPT):
        assert agreement(build(candidate, dynamic, target), target, trained, few_splits).snr_db >= 20


@pytest.mark.parametrize("candidate", [INT8_ONNX, INT8_TORCHSCRIPT], ids=["onnx", "torchscript"])
def test_dynamic_quantization_is_refused_where_there_is_nothing_for_it(
    candidate: Candidate, few_splits: Splits, tmp_path: Path
) -> None:
    bare = context_of(modules.Convolutional().eval(), few_splits, tmp_path)
    with pytest.raises(StepError) as caught:
        build(candidate, replace(bare, quantize=recipe.Quantize(method="dynamic")), X86)

    assert str(caught.value).endswith(", and the network has none\n  try: --quantize static")


def test_a_network_whose_batch_is_fixed_is_calibrated_and_run_one_by_one(few_splits: Splits, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = modules.Unrolled().eval()
    one_by_one = context_of(module, few_splits, tmp_path)
    for candidate in (FP32_ONNX, INT8_ONNX, Candidate(precision="fp32", format="torchscript")):
        found = build(candidate, one_by_one, X86)

        assert not found.artifact.dynamic_batch
        assert not build(candidate, one_by_one, X86).artifact.dynamic_batch
        assert agreement(found, X86, module, few_splits).snr_db >= 20


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2", "residual"])
def test_networks_with_shortcuts_and_depthwise_convolutions_go_every_road(
    name: str, few_images: Path, tmp_path: Path
) -> None:
    plan = recipe.Data(source=str(few_images), image_size=32, calibration_samples=64, evaluation_samples=64)
    splits = data.load(plan, seed=0, cache=tmp_path, progress=Silent())
    torch.manual_seed(0)
    module = modules.Residual() if name == "residual" else models.build(name, 1, 4, 32, 32)
    images = torch.from_numpy(splits.preprocess.apply(splits.calibration.array()))
    context = context_of(modules.settled(module, images), splits, tmp_path)

    for target in (X86, ARM):
        for candidate in target.artifacts:
            found = build(candidate, context, target)
            assert found.artifact.dynamic_batch
            near = agreement(found, target, module, splits)
            assert near.snr_db >= (100 if candidate.precision == "fp32" else 20), f"{target.name} {candidate.name}"


def test_another_process_makes_the_same_bytes_and_nothing_is_printed(tmp_path: Path) -> None:
    out = tmp_path / "digests.json"
    found = subprocess.run(
        [sys.executable, "-m", "tests.every_file", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": "1"},
        capture_output=True,
        check=False,
    )

    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
    theirs, ours = json.loads(out.read_text(encoding="utf-8")), every_file(tmp_path / "cache")
    assert theirs == ours
    assert len(ours) == 2 * sum(len(targets.load(name).artifacts) for name in targets.names())
