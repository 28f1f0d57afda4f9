"""What the tests of the road to a board share."""

from pathlib import Path

import numpy as np
import pytest

from runner.bundle import FP32_REFERENCE, Bundle
from tests import bundles, networks
from tests.packager.remote.near import RUNS, Near, path_of


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of one artifact that runs here, without a host report."""
    folder = tmp_path_factory.mktemp("bundle")
    logits = networks.expected_logits(networks.inputs(8)).astype(np.float32)
    return bundles.write_bundle(
        folder / "net.edgepack",
        {"fp32.onnx": networks.write_onnx(folder / "net.onnx").read_bytes()},
        (bundles.artifact(),),
        logits=dict.fromkeys((FP32_REFERENCE, "fp32.onnx"), logits),
        labels=np.asarray(logits.argmax(axis=1), np.int64),
    )


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of wheels that is all that pip knows of, as a user may have it in pip's configuration."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Near:
    """A board with nothing in its home, behind an ssh that works."""
    programs, home = tmp_path / "programs", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    monkeypatch.setenv("PATH", path_of(programs))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    board = Near(programs, home)
    board.ssh(RUNS)
    return board
