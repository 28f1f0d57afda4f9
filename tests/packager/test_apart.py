"""Artifacts that are built in a process of its own: the same bytes and errors, and a crash is one failure."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
import pytest

import targets
from packager import artifacts, branches, builders, recipe
from packager.apart import parent
from packager.apart.parent import Workshop
from packager.branches import Branch
from packager.cache import Cache
from packager.candidates import NAMES
from packager.cli import pack
from packager.origin import Origin, origin
from packager.recipe import Recipe
from runner import edge
from runner.bundle import open_bundle
from runner.errors import StepError
from runner.manifest import LeftOut
from runner.progress import Advance

X86 = targets.load("x86")
OPENED = parent.opened
"""Itself: the fixture of this package puts nothing in its place."""
CRASHES = """
import os, signal, time
from torch import jit, nn

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 8, 3), nn.Linear(8, num_classes)

    def forward(self, x):
        if jit.is_tracing():
            {crash}
        return self.head(self.conv(x).relu().mean((2, 3)))
"""
TARGET = """
name = "three"
description = "one of three crashes"
machine = "x86_64"
artifacts = [
    {precision = "fp32", format = "onnx"},
    {precision = "fp32", format = "torchscript"},
    {precision = "int8", format = "onnx"},
]
"""


@dataclass
class Told:
    """A Progress that remembers."""

    lines: list[str] = field(default_factory=list)
    tasks: dict[str, int] = field(default_factory=dict)
    """Title -> how many steps were to be done."""
    open: int = 0

    @contextmanager
    def task(self, title: str, total: int) -> Iterator[Advance]:
        self.tasks[title] = total
        self.open += 1
        try:
            yield lambda steps=1, note="": None
        finally:
            self.open -= 1

    def say(self, message: str) -> None:
        self.lines.append(" ".join(message.split()))


@dataclass(frozen=True)
class Setting:
    """A recipe whose artifacts are built apart."""

    start: Origin
    branch: Branch
    workshop: Workshop
    told: Told


@contextmanager
def setting(plan: Recipe, cache: Path) -> Iterator[Setting]:
    """Train, prune, and have the networks made again in another process."""
    told = Told()
    with OPENED(told) as workshop:
        start = origin(plan, Cache(folder=cache), told, apart=workshop)
        (branch, *_) = branches.branches(start.trained, start.bench)
        yield Setting(start, branch, workshop, told)


@pytest.fixture(scope="module")
def apart(few_images: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setting]:
    plan = Recipe(
        model=recipe.Model(name="small_cnn"),
        data=recipe.Data(source=str(few_images), calibration_samples=64),
        train=recipe.Train(epochs=1, batch_size=32, compute="cpu"),
        prune=recipe.Prune(method="channels", amount=0.3, fine_tune_epochs=1),
    )
    with setting(plan, tmp_path_factory.mktemp("apart")) as found:
        yield found


def child_of_this_process() -> int:
    """Return the process that builds, that which was started last."""
    found = list[psutil.Process]()
    while not found:
        for each in psutil.Process().children():
            # One that has ended, and is not waited for yet, has no command.
            with suppress(psutil.Error):
                found += [each] if "packager.apart.child" in " ".join(each.cmdline()) else []
    last: int = max(found, key=lambda each: each.create_time()).pid
    return last


@pytest.mark.parametrize("name", ["fp32.onnx", "int8.onnx", "int8.torchscript", "int8.openvino"])
def test_the_bytes_are_those_that_are_built_here(name: str, apart: Setting) -> None:
    context = apart.branch.context
    found = artifacts.build(NAMES[name], context, X86)

    assert not found.cached
    assert found.file.read_bytes() == builders.export(NAMES[name], context, X86).content
    alone = replace(context, bench=replace(context.bench, apart=None))
    assert artifacts.build(NAMES[name], alone, X86) == replace(found, cached=True)


def test_what_was_built_is_found_without_the_process(apart: Setting) -> None:
    context = apart.branch.context
    first = artifacts.build(NAMES["fp32.torchscript"], context, X86)
    apart.workshop.close()
    assert artifacts.build(NAMES["fp32.torchscript"], context, X86) == replace(first, cached=True)
    branches.branches(apart.start.trained, apart.start.bench)


def test_what_was_begun_ahead_is_no_find_but_new(apart: Setting) -> None:
    for_it = NAMES["fp16.onnx"], apart.branch.context, X86
    artifacts.begin(*for_it)
    artifacts.begin(NAMES["fp16.torchscript"], *for_it[1:])
    first, second = artifacts.build(*for_it), artifacts.build(NAMES["fp16.torchscript"], *for_it[1:])
    assert (first.cached, second.cached) == (False, False)
    assert (artifacts.build(*for_it).cached, apart.told.open) == (True, 0)


def test_a_training_is_shown_with_its_epochs_and_done_once(apart: Setting) -> None:
    plan = recipe.Quantize(qat=recipe.Qat(epochs=1))
    learning = replace(apart.branch.context, quantize=plan)
    found = artifacts.build(NAMES["int8.torchscript"], learning, X86)

    assert [epoch.stage for epoch in found.epochs] == ["qat"]
    assert "qat 1 epochs" in apart.told.tasks
    assert apart.told.open == 0
    content = builders.export(NAMES["int8.torchscript"], learning, X86)  # which finds the training
    assert (found.file.read_bytes(), found.epochs) == (content.content, content.epochs)


@pytest.mark.parametrize("name", ["int8.openvino", "fp32.aotinductor"])
def test_failures_arrive_as_they_were_raised(name: str, apart: Setting) -> None:
    context = replace(apart.branch.context, quantize=recipe.Quantize(method="dynamic"))
    for_it = NAMES[name], context, replace(X86, machine="aarch64", name="elsewhere")
    with pytest.raises(StepError) as here:
        builders.export(*for_it)
    with pytest.raises(StepError) as there:
        artifacts.build(*for_it)

    assert here.value.advice
    assert vars(there.value) == vars(here.value)
    assert str(there.value) == str(here.value)


def test_a_process_that_is_killed_while_it_stands_idle_costs_no_artifact(apart: Setting) -> None:
    apart.workshop.rest()
    os.kill(child_of_this_process(), signal.SIGKILL)
    built = artifacts.build(NAMES["fp32.openvino"], apart.branch.context, X86)
    assert (built.cached, len(built.file.read_bytes()) > 1000) == (False, True)


def test_a_process_that_crashes_is_one_failure_and_the_next_artifact_is_built(apart: Setting) -> None:
    context = apart.branch.context
    apart.workshop.rest()
    os.kill(child_of_this_process(), signal.SIGSEGV)
    with pytest.raises(StepError) as caught:
        artifacts.build(NAMES["fp16.openvino"], context, X86)
    assert caught.value.what == "its converter was ended by SIGSEGV"
    assert caught.value.advice == "another version of its libraries, or leave it out"
    again = artifacts.build(NAMES["fp16.openvino"], context, X86)
    assert (again.cached, len(again.file.read_bytes()) > 1000) == (False, True)


def test_one_process_builds_for_one_recipe_after_the_other(few_images: Path, tmp_path: Path) -> None:
    told, store = Told(), Cache(folder=tmp_path)
    with OPENED(told) as workshop:
        child = child_of_this_process()
        for name in ("small_cnn", "wide_cnn"):
            model, images = recipe.Model(name=name), recipe.Data(source=str(few_images))
            start = origin(Recipe(model=model, data=images, train=None), store, told, apart=workshop)
            context = branches.branches(start.trained, start.bench)[0].context
            built = artifacts.build(NAMES["fp32.onnx"], context, X86)
            assert not built.cached
            assert built.file.read_bytes() == builders.export(NAMES["fp32.onnx"], context, X86).content
            # And is not waited for: its answer is on the way when the next recipe comes.
            artifacts.begin(NAMES["fp32.torchscript"], context, X86)
        assert child_of_this_process() != child
    assert [line for line in told.lines if line.startswith("note: artifacts")] == []


def test_where_the_process_dies_before_it_builds_anything_all_is_built_here(few_images: Path, tmp_path: Path) -> None:
    plan = Recipe(model=recipe.Model(name="small_cnn"), data=recipe.Data(source=str(few_images)), train=None)
    with setting(plan, tmp_path / "cache") as found:
        os.kill(child_of_this_process(), signal.SIGKILL)
        built = artifacts.build(NAMES["fp32.onnx"], found.branch.context, X86)
        assert built.file.read_bytes() == builders.export(NAMES["fp32.onnx"], found.branch.context, X86).content
        assert found.told.lines[-1] == (
            "note: artifacts are built in pack's own process, which a crash ends: the other was ended by SIGKILL, "
            "which is what the system does where memory runs out"
        )


def test_a_network_that_comes_out_otherwise_each_time_is_packed_all_the_same(few_images: Path, tmp_path: Path) -> None:
    net = tmp_path / "net.py"
    net.write_text(
        "import torch\n\ndef net(num_classes):\n    torch.seed()\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, num_classes))\n",
        encoding="utf-8",
    )
    plan = Recipe(model=recipe.Model(name=f"{net}:net"), data=recipe.Data(source=str(few_images)), train=None)
    with setting(plan, tmp_path / "cache") as found:
        built = artifacts.build(NAMES["fp32.onnx"], found.branch.context, X86)
        assert built.file.read_bytes() == builders.export(NAMES["fp32.onnx"], found.branch.context, X86).content
        assert found.told.lines[-1] == (
            "note: artifacts are built in pack's own process, which a crash ends: the network cannot be made again: "
            "it comes out otherwise each time, as one does whose random weights follow from no seed"
        )


def words(crash: str, few_images: Path, folder: Path) -> list[str]:
    """Return the options of a pack of a network that does something else while it is traced for TorchScript."""
    (folder / "net.py").write_text(CRASHES.format(crash=crash), encoding="utf-8")
    (folder / "three.toml").write_text(TARGET, encoding="utf-8")
    files = ("--target", folder / "three.toml", "--model", f"{folder / 'net.py'}:Net", "--data", few_images)
    return [*map(str, files), "--epochs", "1", "-o", str(folder / "net.edgepack")]


@pytest.mark.usefixtures("own_cache", "short_measuring")
def test_a_converter_that_crashes_is_a_row_with_its_reason_and_the_rest_is_packed(
    few_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parent, "opened", OPENED)
    options = words("os.kill(os.getpid(), signal.SIGILL)", few_images, tmp_path)
    assert edge.run(pack, options, program="pack") == 0

    bundle = open_bundle(tmp_path / "net.edgepack")
    what = "its converter was ended by SIGILL (illegal instruction)"
    advice = "a build of its libraries for this CPU, or leave it out"
    assert bundle.manifest.left_out == (LeftOut(name="fp32.torchscript", what=what, advice=advice),)
    assert [each.name for each in bundle.manifest.artifacts] == ["fp32.onnx", "int8.onnx"]
    assert f"fp32.torchscript: {what}; try: {advice}" in " ".join(capfd.readouterr().err.split())


def test_ctrl_c_while_something_is_built_leaves_no_process_and_no_files(few_images: Path, tmp_path: Path) -> None:
    crash = "open('pid.part', 'w').write(str(os.getpid())); os.rename('pid.part', 'pid'); time.sleep(600)"
    (tmp_path / "tmp").mkdir()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "pack"), *words(crash, few_images, tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "TMPDIR": str(tmp_path / "tmp")},
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (tmp_path / "pid").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    builder = int((tmp_path / "pid").read_text())
    assert builder != process.pid, err
    with pytest.raises(ProcessLookupError):
        os.kill(builder, 0)
    assert list((tmp_path / "tmp").glob("edgepack-*")) == []
