"""Shifts and mirror images, value by value."""

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from packager.augment import augment
from packager.recipe import Augment

Batch = NDArray[np.generic]

KINDS: tuple[Augment, ...] = ("none", "flip", "shift", "shift-flip")
TYPES = (np.uint8, np.float32)


def batch(dtype: type[np.generic], shape: tuple[int, int, int, int] = (400, 2, 8, 16)) -> Batch:
    """Return samples whose values, none of them zero, differ from pixel to pixel."""
    count, channels, height, width = shape
    one = 1 + np.arange(channels * height * width).reshape(1, channels, height, width) % 250
    return np.repeat(one, count, axis=0).astype(dtype)


def shifted(sample: Batch, down: int, right: int) -> Batch:
    """Return a sample moved by so many pixels, with zeros where nothing was."""
    _, height, width = sample.shape
    moved = np.zeros_like(sample)
    moved[:, max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = sample[
        :, max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
    ]
    return moved


def found(result: Batch, among: list[Batch]) -> list[int]:
    """Return for each sample which of the possible results it is."""
    return [next(index for index, each in enumerate(among) if np.array_equal(each, sample)) for sample in result]


def shifts(sample: Batch, reach: tuple[int, int]) -> list[Batch]:
    """Return a sample moved by up to `reach`, down and to the right."""
    ways = itertools.product(range(-reach[0], reach[0] + 1), range(-reach[1], reach[1] + 1))
    return [shifted(sample, down, right) for down, right in ways]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("kind", KINDS)
def test_type_shape_and_the_batch_that_is_given_are_kept(kind: Augment, dtype: type[np.generic]) -> None:
    given = batch(dtype)
    result = augment(given, kind, np.random.default_rng(0))

    assert (result.dtype, result.shape) == (given.dtype, given.shape)
    assert np.array_equal(given, batch(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_none_changes_nothing(dtype: type[np.generic]) -> None:
    assert np.array_equal(augment(batch(dtype), "none", np.random.default_rng(0)), batch(dtype))


@pytest.mark.parametrize("dtype", TYPES)
def test_flip_mirrors_about_half_of_the_samples_each_by_its_own_draw(dtype: type[np.generic]) -> None:
    given = batch(dtype)
    which = found(augment(given, "flip", np.random.default_rng(0)), [given[0], given[0][..., ::-1]])

    assert which == [int(draw < 0.5) for draw in np.random.default_rng(0).random(400)]
    assert 160 < sum(which) < 240


@pytest.mark.parametrize("dtype", TYPES)
def test_shift_moves_each_sample_by_up_to_an_eighth_and_fills_with_zero(dtype: type[np.generic]) -> None:
    given = batch(dtype)
    which = found(augment(given, "shift", np.random.default_rng(0)), shifts(given[0], (1, 2)))

    counts = np.bincount(which, minlength=15)
    assert counts.sum() == 400
    assert counts.min() > 10  # each of 3 x 5 places is taken, 27 times on average


def test_shift_and_flip_are_independent() -> None:
    given = batch(np.uint8)
    places = [place[..., ::way] for place in shifts(given[0], (1, 2)) for way in (1, -1)]
    counts = np.bincount(found(augment(given, "shift-flip", np.random.default_rng(0)), places), minlength=30)

    assert counts.sum() == 400
    assert counts.min() > 2


@pytest.mark.parametrize(
    ("size", "reach"),
    [((9, 13), (1, 1)), ((17, 8), (2, 1)), ((7, 7), (0, 0)), ((7, 16), (0, 2)), ((1, 1), (0, 0)), ((28, 28), (3, 3))],
)
def test_the_reach_is_an_eighth_rounded_down_and_nothing_below_eight_pixels(
    size: tuple[int, int], reach: tuple[int, int]
) -> None:
    given = batch(np.uint8, (300, 1, *size))
    every = shifts(given[0], reach)
    which = found(augment(given, "shift", np.random.default_rng(0)), every)

    assert {which[index] for index in range(300)} == set(range(len(every)))


def test_the_generator_decides() -> None:
    one, again, other = (augment(batch(np.uint8), "shift-flip", np.random.default_rng(seed)) for seed in (0, 0, 1))

    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
