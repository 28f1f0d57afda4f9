"""The example is one text: it stands in the README, lies in every bundle, and does what it says."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from packager.writer import EXAMPLE
from runner.bundle import Bundle
from tests import loadable, networks

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return loadable.write(tmp_path_factory.mktemp("bundle"), (loadable.FP32,))


def start(bundle: Bundle, folder: Path, *before: str, path: Path | str) -> str:
    """Run the bundle's own example on one of its images, with nothing of ours but what is in `path`."""
    Path(folder, "example.py").write_bytes(bundle.read("example.py"))
    Image.fromarray(networks.inputs()[7, 0]).save(folder / "photo.png")
    environment = {**os.environ, "PYTHONPATH": str(path), "PYTHONSAFEPATH": ""}
    command = [sys.executable, *(before or ("example.py",)), str(bundle.path), "photo.png"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def expected() -> str:
    """Return how the example's line about the image begins."""
    shares = np.exp(loadable.LOGITS[7].astype(np.float64))
    best = int(shares.argmax())
    return f"photo.png class {best} ['class {best} {shares[best] / shares.sum():.1%}', "


def test_it_runs_where_edgepack_is_installed(bundle: Bundle, tmp_path: Path) -> None:
    said = start(bundle, tmp_path, path=ROOT)
    assert said.startswith("fp32.onnx: by rule, ")
    assert said.splitlines()[-1].startswith(expected())


def test_it_runs_with_the_bundle_alone(bundle: Bundle, tmp_path: Path) -> None:
    assert start(bundle, tmp_path, path=bundle.path).splitlines()[-1].startswith(expected())


def test_a_program_may_put_the_bundle_on_its_own_path(bundle: Bundle, tmp_path: Path) -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import runner; "
        "assert runner.__file__.startswith(sys.argv[1]), runner.__file__; "
        "exec(open('example.py').read())"
    )
    said = start(bundle, tmp_path, "-c", program, path="")
    assert said.splitlines()[-1].startswith(expected())


def test_the_readme_shows_the_very_file(bundle: Bundle) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    assert bundle.read("example.py").decode() == text
    shown = "\n".join(f"    {line}" if line else "" for line in text.splitlines())
    assert f"\n{shown}\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_it_is_ten_lines() -> None:
    code = EXAMPLE.read_text(encoding="utf-8").rpartition('"""')[2]
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
