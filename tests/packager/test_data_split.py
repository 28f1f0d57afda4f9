import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from packager import data, recipe
from packager.data.dataset import Dataset, Samples, Splits
from packager.data.split import split
from runner.errors import StepError, UsageError
from runner.progress import Silent


def _dataset(train: list[int], test: list[int] | None, channels: int = 1) -> Dataset:
    """Each image is filled with its own number."""

    def samples(labels: list[int], first: int) -> Samples:
        base = np.empty((len(labels), channels, 8, 8), np.uint8)
        base[:] = np.arange(first, first + len(labels)).reshape(-1, 1, 1, 1)
        return Samples.whole(base, np.asarray(labels, np.int64))

    return Dataset(
        source="made",
        train=samples(train, 0),
        test=None if test is None else samples(test, 128),
        classes=("a", "b", "c"),
        resize="none: stored as they are",
    )


def _numbers(samples: Samples) -> list[int]:
    return [int(number) for number in samples.array()[:, 0, 0, 0]]


def _pixels(splits: Splits) -> tuple[list[int], ...]:
    return tuple(_numbers(part) for part in (splits.train, splits.validation, splits.calibration, splits.evaluation))


def test_samples_are_views_until_they_are_taken() -> None:
    samples = _dataset([0, 1, 2, 0, 1, 2], None).train
    view = samples.subset(np.array([5, 3, 1]))

    assert view.base is samples.base
    assert len(view) == 3
    assert view.labels.tolist() == [2, 0, 1]
    assert view.take(np.array([2, 0]))[:, 0, 0, 0].tolist() == [1, 5]
    assert view.array().shape == (3, 1, 8, 8)
    assert not np.shares_memory(view.array(), samples.base)


def test_the_parts_have_nothing_in_common_but_calibration_with_training() -> None:
    splits = split(_dataset([0, 1, 2] * 20, [0, 1, 2] * 10), recipe.Data(calibration_samples=9), seed=0)
    train, validation, calibration, evaluation = _pixels(splits)

    assert sorted(train + validation) == list(range(60))
    assert len(validation) == 6
    assert np.bincount(splits.validation.labels).tolist() == [2, 2, 2]
    assert len(calibration) == 9
    assert set(calibration) <= set(train)
    assert sorted(evaluation) == list(range(128, 158))


def test_calibration_and_evaluation_go_through_the_classes_in_turn() -> None:
    wanted = recipe.Data(calibration_samples=12, evaluation_samples=7)
    splits = split(_dataset([0] * 40 + [1] * 20 + [2] * 4, [0] * 10 + [1] * 10 + [2] * 1), wanted, seed=3)

    assert sorted(splits.calibration.labels[:3].tolist()) == [0, 1, 2]
    assert np.bincount(splits.calibration.labels).tolist() == [5, 4, 3] or (
        np.bincount(splits.calibration.labels).tolist() == [4, 5, 3]
    )
    assert np.bincount(splits.evaluation.labels).tolist() == [3, 3, 1]


def test_the_seed_decides_and_nothing_else() -> None:
    dataset = _dataset([0, 1, 2] * 20, None)
    wanted = recipe.Data(calibration_samples=12, evaluation_samples=7)

    first, second, other = (split(dataset, wanted, seed) for seed in (1, 1, 2))

    assert _pixels(first) == _pixels(second)
    assert first.sha256 == second.sha256
    assert _pixels(first)[1] != _pixels(other)[1]
    assert first.sha256 != other.sha256


def test_another_number_of_calibration_samples_leaves_the_evaluation_set_alone() -> None:
    dataset = _dataset([0, 1, 2] * 20, None)

    few, many = (split(dataset, recipe.Data(calibration_samples=n, evaluation_samples=7), seed=0) for n in (3, 30))

    assert _numbers(few.evaluation) == _numbers(many.evaluation)
    assert _numbers(few.train) == _numbers(many.train)


def test_a_source_without_a_test_set_gives_a_fifth_of_each_class() -> None:
    splits = split(_dataset([0] * 50 + [1] * 25 + [2] * 10, None), recipe.Data(), seed=0)

    assert np.bincount(splits.evaluation.labels).tolist() == [10, 5, 2]
    assert np.bincount(splits.validation.labels).tolist() == [4, 2, 1]
    assert not set(_numbers(splits.evaluation)) & set(_numbers(splits.train) + _numbers(splits.validation))


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 30), min_size=3, max_size=3),
    share=st.floats(0.01, 0.99),
    wanted=st.integers(1, 60),
    seed=st.integers(0, 2**32),
)
def test_every_class_stays_in_training_and_validation(counts: list[int], share: float, wanted: int, seed: int) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    splits = split(
        _dataset(labels, labels),
        recipe.Data(validation=share, calibration_samples=wanted, evaluation_samples=wanted),
        seed,
    )

    assert set(splits.train.labels.tolist()) == set(splits.validation.labels.tolist()) == {0, 1, 2}
    assert len(splits.train) + len(splits.validation) == len(labels)
    assert len(splits.evaluation) == min(wanted, len(labels))
    taken = np.bincount(splits.evaluation.labels, minlength=3)
    # Balanced: no class has two fewer than another unless all of it is taken.
    assert all(taken[a] >= taken.max() - 1 or taken[a] == counts[a] for a in range(3))


def test_mean_and_deviation_are_those_of_the_training_part() -> None:
    dataset = _dataset([0, 1, 2] * 20, None, channels=2)
    dataset.train.base[:, 1] = 51
    splits = split(dataset, recipe.Data(), seed=0)
    values = splits.train.array()[:, 0].astype(np.float64) / 255

    assert splits.preprocess.scale == 1 / 255
    assert splits.preprocess.mean == pytest.approx((values.mean(), 0.2), rel=1e-5)
    assert splits.preprocess.std == pytest.approx((values.std(), 1.0), rel=1e-5)
    assert (splits.preprocess.channels, splits.preprocess.height, splits.preprocess.width) == (2, 8, 8)


def test_the_recipes_mean_and_deviation_go_before_measured_ones() -> None:
    dataset = _dataset([0, 1, 2] * 20, None, channels=3)
    splits = split(dataset, recipe.Data(mean=(0.5,), std=(0.1, 0.2, 0.3)), seed=0)

    assert splits.preprocess.mean == (0.5, 0.5, 0.5)
    assert splits.preprocess.std == (0.1, 0.2, 0.3)


def test_a_mean_for_another_number_of_channels_is_refused() -> None:
    with pytest.raises(UsageError, match=r"data\.mean: expected 1 or 3 values, one per channel, got 2"):
        split(_dataset([0, 1, 2] * 9, None, channels=3), recipe.Data(mean=(0.5, 0.4)), seed=0)


def test_float_data_are_not_scaled() -> None:
    dataset = _dataset([0, 1, 2] * 20, None)
    floats = dataset.train.base.astype(np.float32) / 1e6
    dataset = dataclasses.replace(dataset, train=Samples.whole(floats, dataset.train.labels))
    splits = split(dataset, recipe.Data(), seed=0)

    assert splits.preprocess.scale == 1.0
    assert splits.preprocess.std == pytest.approx((splits.train.array().astype(np.float64).std(),), rel=1e-5)


def test_too_few_images_to_hold_any_out_are_refused() -> None:
    with pytest.raises(StepError, match="3 training images are too few to hold out 10% of each class"):
        split(_dataset([0, 1, 2], [0, 1, 2]), recipe.Data(), seed=0)


def test_the_digest_follows_pixels_labels_and_preprocess() -> None:
    base = _dataset([0, 1, 2] * 20, [0, 1, 2])
    repainted = base.train.base.copy()
    repainted[7, 0, 0, 0] += 1
    relabelled = base.train.labels.copy()
    relabelled[[0, 1]] = relabelled[[1, 0]]
    fixed = recipe.Data(mean=(0.5,), std=(0.5,))

    digests = {
        split(base, fixed, seed=0).sha256,
        split(dataclasses.replace(base, train=Samples.whole(repainted, base.train.labels)), fixed, seed=0).sha256,
        split(dataclasses.replace(base, train=Samples.whole(base.train.base, relabelled)), fixed, seed=0).sha256,
        split(base, recipe.Data(mean=(0.5,), std=(0.4,)), seed=0).sha256,
    }

    assert len(digests) == 4


def test_a_memory_mapped_array_is_not_copied(tmp_path: Path) -> None:
    dataset = _dataset([0, 1, 2] * 20, None)
    np.save(tmp_path / "x.npy", dataset.train.base)
    mapped: NDArray[np.uint8] = np.load(tmp_path / "x.npy", mmap_mode="r")
    splits = split(dataclasses.replace(dataset, train=Samples.whole(mapped, dataset.train.labels)), recipe.Data(), 0)

    assert all(part.base is mapped for part in (splits.train, splits.validation, splits.calibration, splits.evaluation))
    assert not isinstance(splits.train.take(slice(0, 4)), np.memmap)


def test_an_unknown_name_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        data.load(recipe.Data(source="fashon-mnist"), seed=0, cache=tmp_path, progress=Silent())

    assert str(caught.value) == (
        "fashon-mnist: there is no data set, folder or .npz file of this name\n  try: did you mean 'fashion-mnist'?"
    )


def test_a_missing_folder_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("1,2")

    with pytest.raises(UsageError, match=r"nowhere/photos: there is no data set, folder or \.npz file of this name"):
        data.load(recipe.Data(source="nowhere/photos"), seed=0, cache=tmp_path, progress=Silent())
    with pytest.raises(UsageError, match=r"x\.csv: is neither a folder nor an \.npz file"):
        data.load(recipe.Data(source=str(tmp_path / "x.csv")), seed=0, cache=tmp_path, progress=Silent())
    with pytest.raises(UsageError, match=r"gone\.npz: there is no such file"):
        data.load(recipe.Data(source=str(tmp_path / "gone.npz")), seed=0, cache=tmp_path, progress=Silent())


def test_every_name_has_a_line() -> None:
    assert list(data.names()) == ["embedded", "mnist", "fashion-mnist", "cifar10"]
