"""What the tests of the host side share: a small data set, and measuring that takes no time."""

from pathlib import Path

import numpy as np
import pytest

from packager.data import embedded
from runner import measure
from runner.measure.latency import Plan


@pytest.fixture(scope="session")
def few_images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz file with 400 + 100 images of the embedded set, in four classes."""
    dataset = embedded.read()
    assert dataset.test is not None
    path = tmp_path_factory.mktemp("data") / "few.npz"
    arrays = {}
    for part, samples, count in (("train", dataset.train, 100), ("test", dataset.test, 25)):
        chosen = np.concatenate([np.flatnonzero(samples.labels == label)[:count] for label in range(4)])
        arrays[f"x_{part}"], arrays[f"y_{part}"] = samples.take(chosen)[:, 0], samples.labels[chosen]
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the arrays for its options
    return path


@pytest.fixture
def short_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a hundredth of a second in each process; everything else is as it always is."""
    monkeypatch.setattr(measure, "PLANS", {"quick": Plan(processes=5, warmup_s=0.01, timed_s=0.01)})


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that nobody has used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgepack"
