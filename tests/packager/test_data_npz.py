from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from packager import data, recipe
from packager.data import npz
from packager.data.dataset import Splits
from runner.errors import StepError, UsageError
from runner.progress import Silent

Array = NDArray[np.generic]


def _arrays(shape: tuple[int, ...] = (16, 16)) -> dict[str, Array]:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (40, *shape), dtype=np.uint8),
        "y_train": np.arange(40) % 4,
        "x_test": random.integers(0, 256, (12, *shape), dtype=np.uint8),
        "y_test": np.arange(12) % 4,
    }


def _load(folder: Path, arrays: dict[str, Array], image_size: int | None = None) -> Splits:
    np.savez(folder / "set.npz", **arrays)  # type: ignore[arg-type]  # numpy's stub takes these for its options
    wanted = recipe.Data(source=str(folder / "set.npz"), image_size=image_size)
    return data.load(wanted, seed=0, cache=folder, progress=Silent())


@pytest.mark.parametrize(("shape", "channels"), [((16, 12), 1), ((16, 12, 3), 3), ((3, 16, 12), 3), ((1, 16, 12), 1)])
def test_the_axis_of_the_channels_is_found(tmp_path: Path, shape: tuple[int, ...], channels: int) -> None:
    arrays = _arrays(shape)
    splits = _load(tmp_path, arrays)
    image = arrays["x_train"][splits.train.index[5]]
    expected = image.transpose(2, 0, 1) if shape == (16, 12, 3) else image.reshape(channels, 16, 12)

    assert (splits.preprocess.channels, splits.preprocess.height, splits.preprocess.width) == (channels, 16, 12)
    assert splits.train.take(np.array([5]))[0].tolist() == expected.tolist()
    assert splits.classes == ("0", "1", "2", "3")


def test_names_of_the_classes_are_read_where_the_file_has_them(tmp_path: Path) -> None:
    splits = _load(tmp_path, _arrays() | {"classes": np.array(["cat", "dog", "cow", "hen"])})

    assert splits.classes == ("cat", "dog", "cow", "hen")


def test_labels_as_a_column_are_read(tmp_path: Path) -> None:
    arrays = _arrays()
    splits = _load(tmp_path, arrays | {"y_train": arrays["y_train"][:, None].astype(np.uint8)})

    assert splits.train.labels.dtype == np.int64
    assert set(splits.train.labels.tolist()) == {0, 1, 2, 3}


def test_float64_images_become_float32(tmp_path: Path) -> None:
    arrays = _arrays()
    splits = _load(tmp_path, arrays | {key: arrays[key].astype(np.float64) for key in ("x_train", "x_test")})

    assert splits.train.array().dtype == np.float32
    assert splits.preprocess.scale == 1.0


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_images_are_resized_to_the_size_that_is_asked_for(tmp_path: Path, kind: type[np.generic]) -> None:
    arrays = _arrays()
    arrays["x_train"], arrays["x_test"] = (np.full((n, 24, 16), 40, kind) for n in (40, 12))
    splits = _load(tmp_path, arrays, image_size=8)

    assert splits.train.base.shape == (40, 1, 8, 8)
    assert splits.train.base.dtype == kind
    assert np.unique(splits.train.array()).tolist() == [40]
    assert splits.preprocess.resize == (
        "shorter side to 8 pixels, centre crop to 8 x 8, bilinear with antialias (Pillow)"
    )


def test_large_images_come_to_224(tmp_path: Path) -> None:
    arrays = _arrays()
    arrays["x_train"], arrays["x_test"] = (np.zeros((n, 300, 260), np.uint8) for n in (40, 12))

    assert _load(tmp_path, arrays).train.base.shape == (40, 1, 224, 224)


def test_resizing_shrinks_an_edge_to_where_it_was(tmp_path: Path) -> None:
    arrays = _arrays()
    for key, count in (("x_train", 40), ("x_test", 12)):
        arrays[key] = np.zeros((count, 32, 32), np.uint8)
        arrays[key][:, :, 16:] = 200
    row = _load(tmp_path, arrays, image_size=8).train.take(slice(0, 1))[0, 0, 4]

    assert row.tolist() == [0, 0, 0, pytest.approx(25, abs=2), pytest.approx(175, abs=2), 200, 200, 200]


def _without(key: str) -> dict[str, Array]:
    return {name: array for name, array in _arrays().items() if name != key}


def _with(key: str, array: Array) -> dict[str, Array]:
    return _arrays() | {key: array}


def _nan() -> Array:
    images = np.zeros((40, 16, 16), np.float32)
    images[17, 3, 3] = np.nan
    return images


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (_without("y_test"), "has no y_test; it has x_train, y_train, x_test"),
        (_with("y_train", np.arange(39) % 4), "x_train has 40 images, but y_train has 39 labels"),
        (_with("y_train", np.arange(40) % 4 - 1), "y_train[0] is -1: labels must be 0 to 2"),
        (_with("y_test", np.full(12, 4)), "y_test[0] is 4: labels must be 0 to 3"),
        (_with("y_train", np.arange(40) % 4 + 1), "no image of y_train has the label 0"),
        (_with("y_train", np.full(40, 10**12)), "y_train[0] is 1000000000000: labels must be 0 to 39"),
        (_with("y_train", np.zeros(40)), "y_train has the shape 40 of float64; expected one integer per image"),
        (_with("y_train", np.eye(40, 4, dtype=np.int64)), "y_train has the shape 40 x 4 of int64"),
        (_with("y_train", np.zeros(40, np.int64)), "has 1 class; a classifier needs at least 2"),
        (_with("x_train", _nan()), "x_train[17] holds NaN or infinite values"),
        (_with("x_train", np.zeros((40, 16, 16), np.int64)), "x_train has the shape 40 x 16 x 16 of int64; expected"),
        (_with("x_train", np.zeros((40, 16), np.uint8)), "x_train has the shape 40 x 16 of uint8; expected images"),
        (_with("x_train", np.zeros((40, 16, 16, 16), np.uint8)), "which axis holds the channels cannot be told"),
        (_with("x_train", np.zeros((0, 16, 16), np.uint8)), "x_train is empty: it has the shape 0 x 1 x 16 x 16"),
        (
            _with("x_test", np.zeros((12, 16, 16), np.float32)),
            "x_train and x_test differ: their images are 1 x 16 x 16 of uint8 and 1 x 16 x 16 of float32",
        ),
        (
            _with("x_test", np.zeros((12, 16, 12), np.uint8)),
            "x_train and x_test differ: their images are 1 x 16 x 16 of uint8 and 1 x 16 x 12 of uint8",
        ),
    ],
)
def test_data_that_cannot_be_right_are_refused(tmp_path: Path, arrays: dict[str, Array], message: str) -> None:
    with pytest.raises(StepError) as caught:
        _load(tmp_path, arrays)

    assert message in caught.value.what
    assert caught.value.where == str(tmp_path / "set.npz")


def test_a_misspelt_key_is_told_with_the_nearest(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", X_train=np.zeros(3))

    with pytest.raises(StepError) as caught:
        npz.read(tmp_path / "set.npz")

    assert caught.value.what == "has no x_train, y_train, x_test, y_test; it has X_train"
    assert caught.value.advice == "did you mean 'X_train'?"


def test_arrays_of_objects_are_refused_without_unpickling(tmp_path: Path) -> None:
    arrays = _arrays() | {"x_train": np.array([{"a": 1}] * 40, dtype=object)}

    with pytest.raises(StepError, match="holds Python objects, which could run code when they are read"):
        _load(tmp_path, arrays)


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **_arrays())  # type: ignore[arg-type]  # numpy's stub takes these for its options
    whole = path.read_bytes()

    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StepError, match=r"set\.npz: is damaged or no \.npz file: File is not a zip file"):
        npz.read(path)
    damaged = bytearray(whole)
    damaged[3000] ^= 255
    path.write_bytes(damaged)
    with pytest.raises(StepError, match=r"is damaged or no \.npz file: Bad CRC-32"):
        npz.read(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").rename(path)
    with pytest.raises(StepError, match=r"is a single array, not an \.npz file"):
        npz.read(path)


def test_images_too_small_for_any_network_are_refused(tmp_path: Path) -> None:
    arrays = _arrays()
    arrays["x_train"], arrays["x_test"] = (np.zeros((n, 6, 20), np.uint8) for n in (40, 12))

    with pytest.raises(UsageError, match="its images have 6 x 20 pixels, and 8 are the least"):
        _load(tmp_path, arrays)
