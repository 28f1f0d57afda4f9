import gzip
import hashlib
from importlib import resources
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from numpy.typing import NDArray

from packager import data, recipe
from packager.data import embedded, make_embedded
from runner.progress import Silent


def test_the_embedded_set_is_balanced_and_small() -> None:
    dataset = embedded.read()

    assert dataset.test is not None
    assert dataset.train.base.shape == (10_000, 1, 28, 28)
    assert dataset.test.base.shape == (2_000, 1, 28, 28)
    assert dataset.train.base.dtype == np.uint8
    assert np.bincount(dataset.train.labels).tolist() == [1000] * 10
    assert np.bincount(dataset.test.labels).tolist() == [200] * 10
    file = resources.files(data).joinpath(embedded.FILE).read_bytes()
    assert len(file) < 7_000_000
    assert hashlib.sha256(file).hexdigest() == "c7f579e615c804a97f9106024113535ceab34d119cb1c21463c516d12f617145"
    assert "Zalando SE" in resources.files(data).joinpath("fashion_mnist_12k.LICENSE.txt").read_text()


def test_the_embedded_set_loads_with_the_default_recipe(tmp_path: Path) -> None:
    splits = data.load(recipe.Data(), seed=0, cache=tmp_path, progress=Silent())

    assert [len(part) for part in (splits.train, splits.validation, splits.calibration, splits.evaluation)] == [
        9000,
        1000,
        512,
        2000,
    ]
    assert splits.classes[9] == "Ankle boot"
    assert splits.preprocess.mean == (0.28406,)
    assert splits.preprocess.std == (0.351185,)
    assert splits.preprocess.resize == "none: stored as they are"
    assert list(tmp_path.iterdir()) == []


def test_the_script_makes_equal_bytes_from_equal_files(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    written = {}
    for part, count in (("train", 40), ("test", 20)):
        labels = np.arange(count, dtype=np.uint8) % 10
        images = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        images[:, 0, 0] = labels
        for name, array in zip(make_embedded.FILES[part], (images, labels), strict=True):
            written[name] = array
            (tmp_path / name).write_bytes(_idx(array))

    for output in ("a.npz", "b.npz"):
        arguments = [str(tmp_path), "-o", str(tmp_path / output), "--train-per-class", "3", "--test-per-class", "1"]
        assert CliRunner().invoke(make_embedded.main, arguments, catch_exceptions=False).exit_code == 0

    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz") as made:
        assert list(made) == ["x_train", "y_train", "x_test", "y_test"]
        assert np.bincount(made["y_train"]).tolist() == [3] * 10
        assert np.bincount(made["y_test"]).tolist() == [1] * 10
        assert made["x_train"].shape == (30, 28, 28)
        assert (made["x_train"][:, 0, 0] == made["y_train"]).all()


def _idx(array: NDArray[np.uint8]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes()
    return gzip.compress(header + array.tobytes())
