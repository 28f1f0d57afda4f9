"""What the tests of the host side share: a small data set, a network that learned it, measuring that takes no time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import models
from packager import data, recipe
from packager.apart import parent
from packager.data import Splits, embedded
from packager.train import Job, train
from runner.measure import session
from runner.measure.latency import Plan
from runner.progress import Silent


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """Compute on one thread: two that wait for each other crawl where the machine has other work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `pack` build in the test's own process: it starts sooner, and a test can put a builder of its own in."""
    monkeypatch.setattr(parent, "opened", lambda _: contextlib.nullcontext())


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


@pytest.fixture(scope="package")
def few_splits(few_images: Path) -> Splits:
    """The few images, 360 of them for training, 40 to choose by and 100 to judge by."""
    plan = recipe.Data(source=str(few_images), calibration_samples=70)
    return data.load(plan, seed=0, cache=few_images.parent, progress=Silent())


@pytest.fixture(scope="package")
def trained(few_splits: Splits) -> nn.Module:
    """A wide_cnn that has learned the few images."""
    torch.manual_seed(0)
    module = models.build("wide_cnn", 1, 4, 28, 28).eval()
    plan = recipe.Train(epochs=3, batch_size=32, compute="cpu")
    return train(module, Job(plan=plan, splits=few_splits, seed=0), Silent()).module


@pytest.fixture
def short_measuring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for a hundredth of a second in each process; everything else is as it always is."""
    monkeypatch.setattr(session, "PLANS", {"quick": Plan(processes=5, warmup_s=0.01, timed_s=0.01)})


@pytest.fixture
def own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache that nobody has used."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgepack"
