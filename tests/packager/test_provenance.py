"""Where a bundle comes from: enough to make it again, and nothing that differs from one run to the next."""

import platform
import subprocess
from pathlib import Path

import pytest

import runner
from packager.provenance import provenance
from packager.recipe import Prune, Recipe
from runner import codec

ROOT = Path(__file__).parent.parent.parent
SHA256 = "ab" * 32


def test_the_recipe_stands_in_it_as_it_was_resolved() -> None:
    recipe = Recipe(seed=7, prune=Prune(amount=0.25))
    found = provenance(recipe, SHA256)
    assert codec.structure(Recipe, found.recipe) == recipe
    assert (found.seed, found.data_sha256) == (7, SHA256)


def test_versions_are_those_of_this_machine() -> None:
    found = provenance(Recipe(), SHA256)
    assert (found.edgepack, found.python) == (runner.__version__, platform.python_version())
    assert found.platform == f"Linux {platform.machine()}"
    makers = {"torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "torchao", "torch-pruning"}
    others = {"openvino", "nncf", "executorch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"}
    assert set(found.versions) == {*makers, *others, "numpy", "pillow"}


def test_it_is_the_same_each_time_and_names_no_path() -> None:
    first = codec.write_json(provenance(Recipe(), SHA256))
    assert codec.write_json(provenance(Recipe(), SHA256)) == first
    assert str(ROOT) not in first
    assert str(Path.home()) not in first


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that the tool seems to run from."""
    (tmp_path / "runner").mkdir()
    (tmp_path / "runner" / "__init__.py").touch()
    monkeypatch.setattr(runner, "__file__", str(tmp_path / "runner" / "__init__.py"))
    return tmp_path


def test_a_checkout_tells_its_commit_and_whether_it_was_changed(checkout: Path) -> None:
    git(checkout, "init", "--quiet")
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "first")
    found = provenance(Recipe(), SHA256)
    assert (found.git_commit, found.git_dirty) == (git(checkout, "rev-parse", "HEAD"), False)
    # What git does not track is no part of the tool.
    (checkout / "notes.txt").touch()
    assert provenance(Recipe(), SHA256).git_dirty is False
    (checkout / "runner" / "__init__.py").write_text("changed = True\n", encoding="utf-8")
    assert provenance(Recipe(), SHA256).git_dirty is True


def test_an_installed_tool_has_no_commit(checkout: Path) -> None:
    assert not (checkout / ".git").exists()
    found = provenance(Recipe(), SHA256)
    assert (found.git_commit, found.git_dirty) == (None, None)


def test_a_checkout_that_git_cannot_read_has_no_commit(checkout: Path) -> None:
    (checkout / ".git").mkdir()
    found = provenance(Recipe(), SHA256)
    assert (found.git_commit, found.git_dirty) == (None, None)
