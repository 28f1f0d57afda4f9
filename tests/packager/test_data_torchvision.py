from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from packager import data, recipe
from runner.errors import StepError
from runner.progress import Silent


def _write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + np.asarray(array.shape, ">i4").tobytes() + array.tobytes())


def test_files_that_lie_in_the_data_folder_are_read_without_a_network(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    made = {}
    for part, count in (("train", 40), ("t10k", 20)):
        made[part] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        _write_idx(tmp_path / "MNIST/raw" / f"{part}-images-idx3-ubyte", made[part])
        _write_idx(tmp_path / "MNIST/raw" / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)

    wanted = recipe.Data(source="mnist", data_dir=str(tmp_path))
    splits = data.load(wanted, seed=0, cache=tmp_path / "cache", progress=Silent())

    assert splits.classes[3] == "3 - three"
    assert splits.train.base[:, 0].tolist() == made["train"].tolist()
    assert splits.evaluation.base[:, 0].tolist() == made["t10k"].tolist()
    assert np.bincount(splits.evaluation.labels).tolist() == [2] * 10


def test_a_set_that_cannot_be_had_is_told_with_the_folder_for_it(tmp_path: Path) -> None:
    place = tmp_path / "taken"
    place.write_text("a file, where a folder should be")

    wanted = recipe.Data(source="cifar10", data_dir=str(place))
    with pytest.raises(StepError) as caught:
        data.load(wanted, seed=0, cache=tmp_path, progress=Silent())

    assert f"cifar10: is neither in {place} nor could it be downloaded: " in str(caught.value)
    assert caught.value.advice == (
        f"put the files of cifar-10-python.tar.gz, unpacked, into {place}/cifar-10-batches-py, "
        "or name the folder that has cifar-10-batches-py in it with --data-dir"
    )
