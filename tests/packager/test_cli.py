"""`pack` as it is typed: what it prints, how it exits, and what it leaves behind."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn

from packager import builders, commands
from packager.candidates import NAMES
from packager.check import BOUNDS, Bounds
from packager.cli import pack
from packager.export import Exported
from runner import edge
from runner.bundle import HOST_REPORT, open_bundle
from runner.errors import StepError
from runner.manifest import LeftOut
from runner.packing import Packing
from tests import networks, reports

ONNX_ONLY = """
name = "onnx-only"
description = "two files that are quick to measure"
machine = "x86_64"
artifacts = [{precision = "fp32", format = "onnx"}, {precision = "int8", format = "onnx"}]
"""


def run(*args: str | Path) -> int:
    return edge.run(pack, [str(arg) for arg in args], program="pack")


def command_line(target: Path, data: Path, *, epochs: int, output: Path) -> list[str]:
    pack = Path(sys.executable).parent / "pack"
    options = ("--target", target, "--model", "small_cnn", "--data", data, "--epochs", epochs, "--output", output)
    return [str(pack), *map(str, options)]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "onnx-only.toml"
    path.write_text(ONNX_ONLY, encoding="utf-8")
    return path


@pytest.fixture
def job(target: Path, few_images: Path, own_cache: Path, short_measuring: None) -> list[str | Path]:
    """A pack that takes seconds."""
    assert not own_cache.exists()
    assert short_measuring is None
    return ["--target", target, "--model", "small_cnn", "--data", few_images, "--epochs", "2"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--target", "x68"], "error: --target: there is no target 'x68'; did you mean 'x86'?\n  try: pack targets\n"),
        ([], "error: --target: name what to pack for\n  try: pack --target x86, or pack targets\n"),
        (["trgets"], "error: trgets: no such command; did you mean 'targets'?\n  try: pack --help\n"),
        (
            ["--target", "x86", "--model", "resnet9"],
            "error: resnet9: there is no model of this name\n  try: did you mean 'resnet8'?\n",
        ),
        (["--target", "x86", "--weights", "no.pth"], "error: no.pth: there is no such file\n  try: --weights FILE\n"),
        (["--target", "x86", "--prune", "1.5"], "error: prune.amount: expected above 0 and below 1, got 1.5\n"),
        (["--target", "x86", "--epochs", "-1"], "error: train.epochs: expected 0 or more, got -1\n"),
        (
            ["--target", "x86", "--recipe", "small-cn"],
            "error: --recipe: there is no recipe 'small-cn'; did you mean 'small-cnn'?\n",
        ),
        (
            ["--target", "x86", "--set", "prune.ammount=0.5"],
            "error: --set: prune.ammount: unknown key; did you mean 'amount'?\n"
            "  try: a key of the recipe, as `pack inspect BUNDLE --recipe` shows\n",
        ),
        (
            ["--target", "x86", "--candidates", "int8.onx"],
            "error: int8.onx: there is no such artifact; did you mean 'int8.onnx'?\n",
        ),
        (
            ["--target", "x86", "--model", "net.onnx", "--epochs", "3", "--prune", "0.5"],
            "error: net.onnx and training: the model exists only as a file, and a file cannot be trained; --epochs 0\n"
            "net.onnx and pruning: the model exists only as a file, and a file cannot be trained,"
            " which what is pruned must be; --prune 0\n",
        ),
        (
            ["--target", "x86", "--recipe", "sizes", "-o", "a.edgepack"],
            "error: -o, --save-weights: there are several models, and this is one file\n  try: -o FOLDER\n",
        ),
        (["--target", "x86", "--recipe", "no.toml"], "error: no.toml: cannot be read: No such file or directory\n"),
        (
            ["--target", "x86", "--target", "cuda", "-o", "a.edgepack"],
            "error: -o: a.edgepack is one bundle, and there are 2 targets\n  try: -o FOLDER\n",
        ),
        (
            ["--target", "x86", "-o", "/dev/null/out"],
            "error: -o: /dev/null/out: Not a directory\n  try: a folder that you may write\n",
        ),
        (
            ["--target", "x86", "-o", "folder.edgepack"],
            "error: -o: folder.edgepack is there, and is no file\n  try: a folder, or another NAME.edgepack\n",
        ),
    ],
)
def test_what_cannot_be_meant_is_told_in_words_and_exits_2(
    args: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.edgepack").mkdir()
    assert run(*args) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert err == message


def test_a_wrong_type_in_a_recipe_is_told_with_the_path_of_its_key(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('[train]\nepochs = "8"\nlerning_rate = 0.1\n', encoding="utf-8")
    assert run("--target", "x86", "--recipe", path) == 2
    err = capfd.readouterr().err
    assert "train.epochs: expected an integer, got '8'" in err
    assert "train.lerning_rate: unknown key; did you mean 'learning_rate'?" in err


def test_the_listings_name_everything_that_can_be_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert [run("targets"), run("models"), run("datasets"), run("recipes")] == [0, 0, 0, 0]
    names = {line.split("  ")[0] for line in capfd.readouterr().out.splitlines()}
    assert {"x86", "arm-qnnpack", "cuda", "resnet8", "mobilenet_v2", "torchvision:NAME", "embedded", "cifar10"} <= names
    assert {"small-cnn", "resnet18-cifar10", "FILE.toml"} <= names


def test_a_pack_prints_the_bundle_and_inspect_shows_it(
    job: list[str | Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "net.edgepack"
    assert run(*job, "-o", bundle) == 0
    out, err = capfd.readouterr()
    assert out == f"{bundle}\n"
    assert "small_cnn on" in err
    assert "Fastest with answers that hold:" in err
    assert run("inspect", bundle) == 0
    shown = capfd.readouterr().out
    assert "onnx-only: two files that are quick to measure" in shown
    assert "small_cnn-onnx-only for onnx-only" in shown
    assert run("inspect", bundle, "--json") == 0
    assert json.loads(capfd.readouterr().out)["name"] == "small_cnn-onnx-only"


def test_the_recipe_of_a_bundle_packs_the_same_bundle_again(
    job: list[str | Path], target: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second, recipe = tmp_path / "1.edgepack", tmp_path / "2.edgepack", tmp_path / "recipe.toml"
    assert run(*job, "--prune", "0.3", "-o", first) == 0
    capfd.readouterr()
    assert run("inspect", first, "--recipe") == 0
    recipe.write_text(capfd.readouterr().out, encoding="utf-8")
    # Without the cache, so that everything is trained, quantized and exported once more.
    assert run("--target", target, "--recipe", recipe, "--no-cache", "-o", second) == 0
    one, other = open_bundle(first), open_bundle(second)
    assert one.id == other.id
    assert [name for name in one.ranges if one.read(name) != other.read(name)] == [HOST_REPORT]


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_a_users_own_network_with_weights_is_packed_untrained(
    target: Path,
    few_images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "path", sys.path.copy())  # which the user's project is appended to
    project = tmp_path / "project"
    (project / "models").mkdir(parents=True)
    (project / "models" / "__init__.py").write_text("WIDTH = 4\n", encoding="utf-8")
    (project / "utils.py").write_text(
        "from torch import nn\n\n\ndef head(n): return nn.Linear(4, n)\n", encoding="utf-8"
    )
    (project / "net.py").write_text(
        "from torch import nn\nfrom models import WIDTH\nimport utils\n\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__()\n"
        "        self.conv, self.head = nn.Conv2d(1, WIDTH, 3), utils.head(num_classes)\n"
        "    def forward(self, x):\n"
        "        return self.head(self.conv(x).relu().mean((2, 3)))\n",
        encoding="utf-8",
    )
    state = {
        "module.conv.weight": torch.full((4, 1, 3, 3), 0.25),
        "module.conv.bias": torch.arange(4.0),
        "module.head.weight": torch.eye(4),
        "module.head.bias": torch.zeros(4),
    }
    torch.save({"model_state_dict": state}, project / "net.pth")
    bundle = tmp_path / "own.edgepack"
    model = f"{project / 'net.py'}:Net"
    assert (
        run("--target", target, "--model", model, "--weights", project / "net.pth", "--data", few_images, "-o", bundle)
        == 0
    )
    err = capfd.readouterr().err
    assert "no training, no pruning, quantize static" in err
    assert "note: images are normalised by mean and standard deviation of the training data" in err
    opened = open_bundle(bundle)
    images = opened.locate("eval/inputs.npy").open()
    prepared = opened.manifest.preprocess.apply(np.asarray(images))
    expected = (
        nn.functional.conv2d(torch.from_numpy(prepared), state["module.conv.weight"], state["module.conv.bias"])
        .relu()
        .mean((2, 3))
    )
    np.testing.assert_allclose(opened.reference()["reference"], expected.numpy(), rtol=1e-4, atol=1e-5)


class Backwards(nn.Module):
    """Answers the opposite."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = self.module(inputs)
        return -answers


class NeverFirst(Backwards):
    """Never answers the first class, and otherwise as it should."""

    def forward(self, inputs: Tensor) -> Tensor:
        answers: Tensor = self.module(inputs)
        others = answers[:, 1:]
        return torch.cat([torch.minimum(answers[:, :1], others.amax(1, keepdim=True) - 0.01), others], 1)


def instead(wrong: type[Backwards]) -> builders.Builder:
    """Return a road that exports another network than the one that is asked for."""
    return lambda context, _: builders.onnx.export(wrong(context.network.module), context.bench)


def refusing(*_: object) -> Exported:
    """Be a road that leads nowhere."""
    raise StepError("no kernel for this layer", advice="int8.onnx")


def unreadable(*_: object) -> Exported:
    """Be a road to a file that nothing can run."""
    return Exported(content=b"no network")


def test_where_no_int8_answers_rightly_the_pack_stops_with_name_and_figure(
    job: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(builders.BUILDERS, NAMES["int8.onnx"], instead(Backwards))
    assert run(*job, "-o", tmp_path / "out") == 6
    err = capfd.readouterr().err
    assert "error: onnx-only: int8.onnx: check: int8.onnx does not answer as the fp32 model does: " in err
    assert "signal to noise -6.0 dB" in err
    assert "ran before it: data, model, rehearse, train, reference, onnx-only: fp32.onnx" in err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "road", "told"),
    [
        ("int8.onnx", unreadable, "int8.onnx: check: int8.onnx cannot be run: ONNX Runtime "),
        ("int8.onnx", refusing, "int8.onnx: no kernel for this layer"),
        ("fp32.onnx", refusing, "fp32.onnx: no kernel for this layer"),
    ],
    ids=["no int8 that can be run", "no int8 at all", "no reference"],
)
def test_without_any_int8_or_the_reference_there_is_no_bundle(
    name: str, road: builders.Builder, told: str, job: list[str | Path], tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(builders.BUILDERS, NAMES[name], road)
        done = CliRunner().invoke(pack, [str(word) for word in (*job, "--epochs", "0", "-o", tmp_path / "out")])
    assert isinstance(done.exception, StepError)
    assert done.exception.exit_code == 6
    assert str(done.exception).startswith(f"onnx-only: {told}")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_made_is_left_out_with_its_reason_and_the_rest_is_packed_with_all_that_was_asked_for(
    job: list[str | Path],
    target: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(builders.BUILDERS, NAMES["int8.torchscript"], refusing)
    target.write_text(
        ONNX_ONLY.replace("]", ', {precision = "int8", format = "torchscript"}]') + 'engine = "x86"\n', encoding="utf-8"
    )
    table = tmp_path / "results.md"
    table.write_text("# Ours\n\n## Zeros\n\nold\n\n## Other\n\nkept\n", encoding="utf-8")
    options = ("--prune", "0.5", "--sensitivity", "--set", "title=Zeros", "--results", table)
    assert run(*job, *options, "-o", tmp_path / "net.edgepack") == 0

    bundle = open_bundle(tmp_path / "net.edgepack")
    left = LeftOut(name="int8.torchscript", what="no kernel for this layer", advice="int8.onnx")
    assert bundle.manifest.left_out == (left,)
    assert [each.name for each in bundle.manifest.artifacts] == ["fp32.onnx", "int8.onnx", "unpruned-fp32.onnx"]
    report = bundle.host_report()
    assert report is not None
    assert report.packing is not None
    assert report.packing.left_out == (left,)
    assert [epoch.stage for epoch in report.packing.epochs] == ["train"] * 2 + ["prune"] * 2
    own, unpruned = report.packing.networks
    assert (own.name, unpruned.name, own.macs, own.parameters) == ("", "unpruned", unpruned.macs, unpruned.parameters)
    assert own.nonzero == pytest.approx(0.5 * unpruned.nonzero, rel=0.05)
    assert [damage.changed for damage in report.packing.sensitivity if not 0 <= damage.changed <= 0.5] == []
    assert len(report.packing.sensitivity) > 1

    err = capfd.readouterr().err
    assert re.search(r"^onnx-only: int8.torchscript +left out  no kernel for this layer$", err, re.MULTILINE)
    assert "Left out\n  int8.torchscript: no kernel for this layer; try: int8.onnx\n" in err
    assert "network, fp32" in err
    assert "int8 in this layer alone" in err
    text = table.read_text(encoding="utf-8")
    assert text.startswith("# Ours\n\n## Zeros\n\n| artifact ")
    assert text.endswith("has no int8.torchscript: no kernel for this layer.\n\n## Other\n\nkept\n")
    assert "old" not in text


def test_a_budget_that_is_missed_leaves_the_best_bundle_and_exits_1(
    job: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BOUNDS, "int8", Bounds(snr_db=-10.0, agreement=0.5))
    monkeypatch.setitem(builders.BUILDERS, NAMES["int8.onnx"], instead(NeverFirst))
    bundle = tmp_path / "net.edgepack"
    # A recipe that trains for int8 has no dearer way to go on with.
    assert run(*job, "--quantize", "qat", "--max-drop", "1", "-o", bundle) == 1
    out, err = capfd.readouterr()
    assert out == f"{bundle}\n"
    assert "int8.onnx does not hold the budget of 1 point; the best of 1 tried is kept: as the recipe has it." in err
    report = open_bundle(bundle).host_report()
    assert report is not None
    assert report.packing is not None
    (record,) = report.packing.budgets
    (tried,) = record.tries
    assert tried.validation is not None
    assert (tried.validation.samples, record.evaluation.samples) == (40, 100)
    assert min(tried.validation.drop, record.evaluation.drop) > 0.02
    assert (tried.holds, record.holds, record.max_drop) == (False, False, 0.01)
    assert re.search(r"^onnx-only: try int8.onnx +too much  as the recipe has it: \+", err, re.MULTILINE)


def test_a_choice_that_is_left_without_integers_by_the_budget_exits_1_too(
    job: list[str | Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(BOUNDS, "int8", Bounds(snr_db=-10.0, agreement=0.5))
    monkeypatch.setitem(builders.BUILDERS, NAMES["int8.onnx"], instead(NeverFirst))
    bundle = tmp_path / "net.edgepack"
    wish = ("--quantize", "qat", "--max-drop", "1", "--candidates", "quick")
    assert run(*job, *wish, "-o", bundle) == 1
    packed = open_bundle(bundle)
    assert [each.name for each in packed.manifest.artifacts] == ["fp32.onnx"]
    report = packed.host_report()
    assert report is not None
    assert report.packing is not None
    (record,) = report.packing.budgets
    assert (record.artifact, record.holds) == ("int8.onnx", False)
    assert re.search(r"int8\.onnx: \d+\.\d\d points of top-1 lost, at most 1 point may be\n", capfd.readouterr().err)


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_a_model_that_is_a_file_is_packed_with_its_own_weights(
    target: Path,
    few_images: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = networks.write_onnx(tmp_path / "net.onnx", shape=(1, 28, 28), classes=4, opset=20)
    assert run("--target", target, "--model", path, "--data", few_images, "-o", tmp_path) == 0
    err = capfd.readouterr().err
    assert "net, an ONNX file of " in err
    assert " bytes: its own weights, no training\n" in err
    bundle = open_bundle(tmp_path / "net-onnx-only.edgepack")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = bundle.manifest.preprocess.apply(np.asarray(bundle.locate("eval/inputs.npy").open()))
    expected = session.run(None, {"input": images})[0]
    np.testing.assert_allclose(bundle.reference()["fp32.onnx"], expected, rtol=1e-4, atol=1e-4)
    report = bundle.host_report()
    assert report is not None
    assert [artifact.name for artifact in report.artifacts] == ["fp32.onnx", "int8.onnx"]


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_each_model_of_a_recipe_gets_a_bundle(target: Path, few_images: Path, tmp_path: Path) -> None:
    file = tmp_path / "many.toml"
    file.write_text('models = ["small_cnn", "resnet8"]\ncandidates = ["fp32.onnx"]\n', encoding="utf-8")
    packing = ("--target", target, "--recipe", file, "--data", few_images, "--image-size", "32")
    assert run(*packing, "-o", tmp_path / "out", "--results", tmp_path / "sizes.md") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "resnet8-onnx-only.edgepack",
        "small_cnn-onnx-only.edgepack",
    ]
    bundle = open_bundle(tmp_path / "out" / "resnet8-onnx-only.edgepack")
    assert (bundle.manifest.provenance.recipe["models"], bundle.manifest.left_out) == ([], ())
    lines = (tmp_path / "sizes.md").read_text(encoding="utf-8").splitlines()
    assert [line.split("|")[1].strip() for line in lines if line.startswith(("| small", "| resnet"))] == [
        "small_cnn-onnx-only",
        "resnet8-onnx-only",
    ]


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_a_model_that_fails_costs_neither_the_others_nor_their_rows(
    target: Path,
    few_images: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, layer in (("first", "nn.Linear(7, 7)"), ("last", "nn.Conv2d(3, 8, 1)")):
        (tmp_path / f"{name}.py").write_text(
            "from torch import nn\n\n"
            "class Net(nn.Sequential):\n"
            "    def __init__(self, num_classes):\n"
            f"        super().__init__(nn.Flatten(), {layer}, nn.Linear(7, num_classes))\n",
            encoding="utf-8",
        )
    first, last = (f"{tmp_path / name}.py:Net" for name in ("first", "last"))
    file, table = tmp_path / "many.toml", tmp_path / "sizes.md"
    file.write_text(f'models = ["{first}", "small_cnn", "{last}"]\ncandidates = ["fp32.onnx"]\n', encoding="utf-8")
    packing = ("--target", target, "--recipe", file, "--data", few_images)
    assert run(*packing, "-o", tmp_path / "out", "--results", table) == 6
    out, err = capfd.readouterr()
    assert out == f"{tmp_path / 'out' / 'small_cnn-onnx-only.edgepack'}\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small_cnn-onnx-only.edgepack"]
    assert "\n| fp32.onnx |" in table.read_text(encoding="utf-8")
    assert err.index(f"\n{first} failed: ") < err.index("onnx-only: fp32.onnx ") < err.index(f"\n{last} failed: ")
    listed = err[err.index("\n2 of 3 models failed: ") :]
    assert listed.startswith(f"\n2 of 3 models failed: {first}, {last}\nerror: ")
    told = err[err.index(f"{first} failed: ") :].removeprefix(f"{first} failed: ")
    assert listed.split("error: ", 1)[1].splitlines()[0] == told.splitlines()[0]


@pytest.mark.parametrize(
    ("holds", "left_out", "missed"),
    [
        (True, (), False),
        (False, (), True),
        (True, ("int8.torchscript",), True),
        (True, ("half-int4-weights.onnx",), True),
        (True, ("fp16.onnx", "int8-fp16.onnx"), False),
        (None, ("int8.torchscript",), False),
    ],
)
def test_a_budget_is_missed_too_by_what_it_was_for_and_is_not_there(
    holds: bool | None, left_out: tuple[str, ...], missed: bool
) -> None:
    packing = Packing(
        epochs=(),
        steps=(),
        budgets=() if holds is None else (reports.budget(holds=holds),),
        left_out=tuple(LeftOut(name=name, what="no kernel") for name in left_out),
    )
    assert commands.missed([reports.host(), replace(reports.host(), packing=packing)]) == missed


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_a_target_that_fails_does_not_hide_the_bundle_of_the_one_before(
    few_images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Conv2d(1, num_classes, 28), nn.Flatten())\n",
        encoding="utf-8",
    )
    fp32 = 'artifacts = [{precision = "fp32", format = "onnx"}]'
    (tmp_path / "first.toml").write_text(
        f'name = "first"\ndescription = "fp32 alone"\nmachine = "x86_64"\n{fp32}\n', encoding="utf-8"
    )
    (tmp_path / "second.toml").write_text(ONNX_ONLY, encoding="utf-8")
    targets = ("--target", tmp_path / "first.toml", "--target", tmp_path / "second.toml")
    net = ("--model", f"{tmp_path / 'net.py'}:Net", "--data", few_images, "--epochs", "0", "--quantize", "dynamic")
    assert run(*targets, *net, "-o", tmp_path / "out") == 6
    out, err = capfd.readouterr()
    bundle = tmp_path / "out" / "net-Net-first.edgepack"
    assert out == f"{bundle}\n"
    assert "error: onnx-only: int8.onnx: ONNX Runtime's dynamic quantization takes linear layers" in err
    host = open_bundle(bundle).host_report()
    assert host is not None


def test_a_report_tells_the_steps_of_its_own_target_alone(job: list[str | Path], target: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(ONNX_ONLY.replace("onnx-only", "other"), encoding="utf-8")
    fp32 = ("--candidates", "fp32.onnx", "--epochs", "0")
    assert run(*job, *fp32, "--target", other, "-o", tmp_path / "out") == 0
    shared = ["data", "model", "reference"]
    for name in ("onnx-only", "other"):
        report = open_bundle(tmp_path / "out" / f"small_cnn-{name}.edgepack").host_report()
        assert report is not None
        assert report.packing is not None
        own = ["fp32.onnx", "fp32.onnx: check", "write"]
        assert [record.step for record in report.packing.steps] == [*shared, *(f"{name}: {step}" for step in own)]


def test_without_the_libraries_of_the_host_the_extra_is_named(tmp_path: Path) -> None:
    program = "import sys; sys.modules['PIL'] = None\nfrom packager.cli import main\nmain()\n"
    ended = subprocess.run(
        [sys.executable, "-c", program, "--target", "x86"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert ended.stderr == "error: pack: needs PIL, which is not installed\n  try: pip install 'edgepack[pack]'\n"


def test_a_network_that_cannot_be_traced_is_refused_with_the_layer(
    target: Path, few_images: Path, own_cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "class Gate(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x * 2 if x.sum() > 0 else x\n\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(nn.Flatten(), Gate(), nn.Linear(784, num_classes))\n",
        encoding="utf-8",
    )
    model = f"{tmp_path / 'net.py'}:Net"
    assert run("--target", target, "--model", model, "--data", few_images, "--epochs", "0", "-o", tmp_path / "out") == 6
    err = capfd.readouterr().err
    assert "error: onnx-only: fp32.onnx: the network cannot be exported to ONNX, in 1 (Gate): " in err
    assert "try: leave data-dependent `if`" in err
    assert own_cache.exists()
    assert list((tmp_path / "out").iterdir()) == []


def test_what_cannot_be_traced_is_told_before_the_training(
    target: Path, few_images: Path, own_cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n"
        "class Net(nn.Linear):\n"
        "    def __init__(self, num_classes):\n"
        "        super().__init__(784, num_classes)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1)) if x.sum() > 1e9 else super().forward(-x.flatten(1))\n",
        encoding="utf-8",
    )
    assert run("--target", target, "--model", f"{tmp_path / 'net.py'}:Net", "--data", few_images, "-o", tmp_path) == 6
    err = capfd.readouterr().err
    assert "error: rehearse: the network cannot be exported to ONNX, in the network itself (Net): " in err
    assert "ran before it: data, model\n" in err
    assert not list(own_cache.glob("train/*"))


def test_with_json_stdout_is_one_document(
    job: list[str | Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(*job, "--candidates", "fp32.onnx", "--epochs", "0", "--json", "-o", tmp_path) == 0
    (report,) = json.loads(capfd.readouterr().out)
    assert report["bundle_name"] == "small_cnn-onnx-only"


def test_a_project_on_the_python_path_does_not_hide_our_packages(tmp_path: Path) -> None:
    for name in ("runner", "models", "targets", "packager"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('the wrong one')\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (["pack", "targets"], ["bench-runner", "device"]):
        program = Path(sys.executable).parent / command[0]
        done = subprocess.run([program, command[1]], env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_in_the_training_keeps_its_checkpoint_and_the_next_pack_goes_on_from_it(
    target: Path, few_images: Path, own_cache: Path, tmp_path: Path
) -> None:
    epochs = 60
    command = command_line(target, few_images, epochs=epochs, output=tmp_path / "out")
    environment = {**os.environ, "XDG_CACHE_HOME": str(own_cache.parent)}
    first = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    while not list(own_cache.glob("train/*.part/checkpoint.pt")):
        assert first.poll() is None
        time.sleep(0.01)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130
    assert err.endswith("are kept: the same command goes on from there\ninterrupted\n")
    assert list((tmp_path / "out").iterdir()) == []
    (checkpoint,) = own_cache.glob("train/*.part/checkpoint.pt")
    kept = json.loads(torch.load(checkpoint, weights_only=True)["epochs"])
    assert 0 < len(kept) < epochs
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    report = open_bundle(tmp_path / "out" / "small_cnn-onnx-only.edgepack").host_report()
    assert report is not None
    assert report.packing is not None
    assert len(report.packing.epochs) == epochs
    # Durations are never the same twice: these epochs were not run again.
    assert [epoch.duration_s for epoch in report.packing.epochs[: len(kept)]] == [epoch["duration_s"] for epoch in kept]


def test_ctrl_c_while_measuring_leaves_no_bundle(
    target: Path, few_images: Path, own_cache: Path, tmp_path: Path
) -> None:
    command = command_line(target, few_images, epochs=1, output=tmp_path / "out")
    environment = {**os.environ, "XDG_CACHE_HOME": str(own_cache.parent)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("onnx-only: write"):
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    process.stderr.close()
    assert list((tmp_path / "out").iterdir()) == []
