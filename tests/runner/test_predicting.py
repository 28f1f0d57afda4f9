"""`bench-runner predict`: what is on images, as a user of the command sees it."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from runner import cli, codec, edge
from runner.bundle import Bundle
from tests import loadable, networks

IMAGES = networks.inputs(loadable.SAMPLES)
ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return loadable.write(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """Return the names of two of the bundle's images as files of the working folder."""
    monkeypatch.chdir(tmp_path)
    for index in (0, 1):
        Image.fromarray(IMAGES[index, 0]).save(f"{index}.png")
    return ("0.png", "1.png")


def bench(capsys: pytest.CaptureFixture[str], *args: object) -> Ended:
    capsys.readouterr()
    code = edge.run(cli.bench_runner, [str(arg) for arg in args], program="bench-runner")
    out, err = capsys.readouterr()
    return Ended(code=code, out=out, err=err)


def best(index: int) -> tuple[str, str]:
    """Return the class of a sample and its probability, as a table has it."""
    shares = np.exp(loadable.LOGITS[index].astype(np.float64))
    return f"class {loadable.LOGITS[index].argmax()}", f"{100 * shares.max() / shares.sum():.2f} %"


def test_each_image_has_its_classes_and_their_probabilities(
    bundle: Bundle, photos: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = bench(capsys, "predict", bundle.path, *photos, "--prefer", "fp32.onnx", "--top", 2, "--threads", 1)
    assert (found.code, found.err) == (0, "")
    lines = found.out.splitlines()
    assert lines[0].split() == ["image", "class", "probability"]
    assert lines[2].split("  ")[0] == "0.png"
    assert [line.split(maxsplit=1)[1] for line in (lines[2], lines[4])] == [
        f"{label}  {share:>11}" for label, share in (best(0), best(1))
    ]
    assert [line[:5] for line in lines[2:6]] == ["0.png", "     ", "1.png", "     "]
    assert lines[6:] == ["", "By fp32.onnx: preferred by its name"]


def test_as_json_it_is_one_document(bundle: Bundle, photos: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    found = bench(capsys, "predict", bundle.path, *photos, "--prefer", "fp32.onnx", "--json")
    assert (found.code, found.err) == (0, "")
    document = json.loads(found.out)
    assert (document["artifact"], document["reason"]) == ("fp32.onnx", "preferred by its name")
    assert [each["image"] for each in document["images"]] == list(photos)
    first = document["images"][0]["classes"]
    assert [len(first), first[0]["label"]] == [3, best(0)[0]]
    assert sum(each["probability"] for each in first) == pytest.approx(1.0)


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_answered(
    bundle: Bundle, photos: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.png").write_bytes(b"no image")
    args = ("predict", bundle.path, "none.png", photos[0], "bad.png", "--top", 1)
    found = bench(capsys, *args)
    assert found.code == 2
    first, second = found.err.splitlines()
    assert first == "error: none.png: this image cannot be decoded: No such file or directory"
    assert second.startswith("error: bad.png: this image cannot be decoded: cannot identify image file")
    assert f"0.png  {best(0)[0]}" in found.out
    document = json.loads(bench(capsys, *args, "--json").out)
    assert [(each["image"], bool(each["classes"]), bool(each["error"])) for each in document["images"]] == [
        ("none.png", False, True),
        ("0.png", True, False),
        ("bad.png", False, True),
    ]


def test_a_report_may_choose(bundle: Bundle, photos: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    medians = {"fp32.onnx": 90, "int8.torchscript": 50}
    own = loadable.measured(bundle, medians, fastest="int8.torchscript", threads=1)
    Path("own.json").write_text(codec.write_json(own), encoding="utf-8")
    found = bench(capsys, "predict", bundle.path, photos[0], "--prefer", "own.json")
    assert found.code == 0
    assert "By int8.torchscript: the fastest in own.json" in found.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--prefer", "int9.onnx"), "error: prefer: 'int9.onnx' is neither an artifact of this bundle nor the file of"),
        (("--top", "0"), "Error: Invalid value for '--top': 0 is not in the range x>=1."),
    ],
)
def test_what_cannot_be_meant_is_told(
    bundle: Bundle, photos: Sequence[str], arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = bench(capsys, "predict", bundle.path, photos[0], *arguments)
    assert found.code == 2
    assert message in found.err
    assert found.out == ""


def test_without_pillow_the_extra_is_named_before_anything_is_loaded(
    photos: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    found = bench(capsys, "predict", "none.edgepack", photos[0])
    assert found.code == 4
    assert found.err.startswith("error: reading images needs Pillow, which is not installed here\n  try: ")
    assert "pip install 'edgepack[images]'" in found.err


def test_a_bundle_that_is_started_predicts_by_itself(bundle: Bundle, photos: Sequence[str]) -> None:
    command = [sys.executable, str(bundle.path), "predict", photos[0], "--prefer", "fp32.onnx", "--top", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"0.png  {best(0)[0]}" in done.stdout
