"""A finished step is found again by what went into it, and never half."""

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from packager import cache
from packager.cache import Cache, Found
from runner import codec
from runner.errors import StepError
from tests import disk

ROOT = Path(__file__).parent.parent.parent
ADVICE = "free some space, XDG_CACHE_HOME=another/folder, or --no-cache"


def writing(text: str, calls: list[Path]) -> Callable[[Path], None]:
    """Return a step that writes one file, and remembers where."""

    def make(folder: Path) -> None:
        calls.append(folder)
        (folder / "result.txt").write_text(text, encoding="utf-8")

    return make


def fail(folder: Path) -> None:
    """Write half of a step, and stop."""
    (folder / "checkpoint.pt").write_bytes(b"half")
    raise KeyboardInterrupt


def made(folder: Path, inputs: Mapping[str, object], calls: list[Path], step: str = "train") -> Found:
    """Ask for a step of these inputs."""
    return Cache(folder=folder / "cache").made(step, inputs, writing(f"{inputs}", calls))


def files(folder: Path) -> set[str]:
    """Return the files and folders below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_a_step_is_made_once_and_found_again(tmp_path: Path) -> None:
    calls: list[Path] = []
    first = made(tmp_path, {"seed": 0}, calls)
    again = made(tmp_path, {"seed": 0}, calls)
    assert (first.cached, again.cached, len(calls)) == (False, True, 1)
    assert (again.folder, again.key) == (first.folder, first.key)
    assert first.folder == tmp_path / "cache" / "train" / first.key
    assert (again.folder / "result.txt").read_text(encoding="utf-8") == "{'seed': 0}"
    assert files(tmp_path / "cache") == {"train", f"train/{first.key}", f"train/{first.key}/result.txt"}


@pytest.mark.parametrize(
    "other",
    [{"seed": 1}, {"seed": False}, {"seed": "0"}, {"seed": None}, {}, {"seed": 0, "epochs": 1}, {"sead": 0}],
)
def test_other_inputs_are_another_step(other: dict[str, object], tmp_path: Path) -> None:
    calls: list[Path] = []
    assert made(tmp_path, {"seed": 0}, calls).key != made(tmp_path, other, calls).key
    assert len(calls) == 2


def test_the_order_of_the_inputs_does_not_count(tmp_path: Path) -> None:
    calls: list[Path] = []
    made(tmp_path, {"a": 1, "b": 2}, calls)
    assert made(tmp_path, {"b": 2, "a": 1}, calls).cached


def test_the_same_inputs_of_another_step_are_another_result(tmp_path: Path) -> None:
    calls: list[Path] = []
    assert made(tmp_path, {"seed": 0}, calls, "train").key != made(tmp_path, {"seed": 0}, calls, "prune").key


def test_other_code_or_other_libraries_make_other_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Path] = []
    made(tmp_path, {"seed": 0}, calls)
    monkeypatch.setattr(cache, "tool_digest", lambda: "another")
    assert not made(tmp_path, {"seed": 0}, calls).cached
    assert len(calls) == 2


def test_the_tool_is_its_code_and_the_libraries_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    digests = [cache.tool_digest.__wrapped__()]
    monkeypatch.setattr(cache, "LIBRARIES", ("torch",))
    digests.append(cache.tool_digest.__wrapped__())
    monkeypatch.setattr(cache, "models", codec)
    digests.append(cache.tool_digest.__wrapped__())
    monkeypatch.setattr(cache, "manifest", codec)
    digests.append(cache.tool_digest.__wrapped__())
    assert len(set(digests)) == 4


def test_versions_are_those_of_the_libraries_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = cache.versions()
    makers = ["torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "torchao"]
    others = ["openvino", "nncf", "executorch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"]
    assert list(found) == [*makers, *others, "torch-pruning", "numpy", "pillow"]
    assert found["numpy"] == __import__("numpy").__version__
    monkeypatch.setattr(cache, "LIBRARIES", ("no-such-library", "numpy"))
    assert list(cache.versions()) == ["numpy"]


def test_of_a_complete_cache_what_is_there_is_found_and_nothing_is_made(tmp_path: Path) -> None:
    calls: list[Path] = []
    found = made(tmp_path, {"seed": 0}, calls)
    complete = Cache(folder=tmp_path / "cache", complete=True)
    assert complete.made("train", {"seed": 0}, fail) == replace(found, cached=True)
    with pytest.raises(StepError, match=r"^'train' comes out otherwise than before, or is gone from the cache$"):
        complete.made("train", {"seed": 1}, fail)
    assert [complete.holds("train", {"seed": seed}) for seed in (0, 1)] == [True, False]


def test_a_step_that_fails_leaves_no_result_and_finds_its_checkpoint_again(tmp_path: Path) -> None:
    store, seen = Cache(folder=tmp_path), []
    with pytest.raises(KeyboardInterrupt):
        store.made("train", {}, fail)
    (part,) = (path for path in (tmp_path / "train").iterdir() if path.is_dir())
    assert part.suffix == ".part"

    def resume(folder: Path) -> None:
        seen.append((folder / "checkpoint.pt").read_bytes())
        (folder / "checkpoint.pt").unlink()
        (folder / "result.txt").touch()

    found = store.made("train", {}, resume)
    assert (seen, found.cached) == ([b"half"], False)
    assert files(tmp_path) == {"train", f"train/{found.key}", f"train/{found.key}/result.txt"}


PROGRAM = """
import sys, time
from pathlib import Path
from packager.cache import Cache

folder, mine, other = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def make(part):
    # Long enough that the other process has asked, too.
    while not (folder / other).exists():
        time.sleep(0.01)
    time.sleep(0.2)
    (part / "result.txt").write_text(mine)

(folder / mine).touch()
found = Cache(folder=folder / "cache").made("train", {}, make)
print(found.cached, (found.folder / "result.txt").read_text())
"""


def test_of_two_processes_one_makes_a_step_and_the_other_finds_it(tmp_path: Path) -> None:
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path), *names], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for names in (("first", "second"), ("second", "first"))
    ]
    said = sorted(process.communicate(timeout=60)[0].split() for process in running)
    assert [words[0] for words in said] == ["False", "True"]
    assert said[0][1] == said[1][1]


def test_a_cache_that_may_not_be_written_is_told(tmp_path: Path) -> None:
    with disk.read_only(tmp_path), pytest.raises(StepError) as caught:
        made(tmp_path, {}, [])
    folder = tmp_path / "cache"
    assert str(caught.value) == f"{folder}: the cache cannot be written: Permission denied\n  try: {ADVICE}"


def test_a_file_where_the_cache_should_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StepError) as caught:
        made(tmp_path, {}, [])
    folder = tmp_path / "cache"
    assert str(caught.value) == f"{folder}: the cache cannot be written: Not a directory\n  try: {ADVICE}"


def test_a_disk_that_is_full_in_the_middle_of_a_step_is_told(tmp_path: Path) -> None:
    with disk.small(1000), pytest.raises(StepError) as caught:
        Cache(folder=tmp_path).made("train", {}, lambda folder: fill(folder / "weights"))
    assert str(caught.value) == f"{tmp_path}: the cache cannot be written: File too large\n  try: {ADVICE}"


def fill(path: Path) -> None:
    """Write more than there is room for."""
    path.write_bytes(bytes(2000))


def test_a_file_of_the_users_that_a_step_cannot_read_is_not_told_as_the_caches(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Cache(folder=tmp_path / "cache").made("train", {}, lambda _: (tmp_path / "photo.jpg").unlink())
    assert caught.value.filename == str(tmp_path / "photo.jpg")


def test_the_cache_is_where_the_user_has_caches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache.default_folder() == tmp_path / "caches" / "edgepack"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / ".cache" / "edgepack"
