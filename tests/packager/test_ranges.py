"""Ranges from what calibration saw: each method against its own definition."""

import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.ao.quantization.observer import MovingAverageMinMaxObserver

from packager import recipe
from packager.quantize.ranges import RangeEstimator
from runner.errors import StepError

METHODS: tuple[recipe.Ranges, ...] = ("min-max", "moving-average", "entropy", "percentile", "mse")
values = st.lists(st.floats(-(2.0**66), 2.0**66, width=32), min_size=1, max_size=50)


def estimated(method: recipe.Ranges, *batches: torch.Tensor, percentile: float = 99.99) -> tuple[float, float]:
    """Return the range after as many passes over the batches as the method wants."""
    estimator = RangeEstimator(method, percentile)
    for _ in range(estimator.passes):
        for batch in batches:
            estimator.see(batch)
        estimator.end_pass()
    return estimator.range()


def squared_error(data: torch.Tensor, low: float, high: float) -> float:
    """Return what affine 8-bit quantization does to the data: the mean of its squared errors."""
    scale = (high - low) / 255
    zero_point = round(-low / scale)
    rounded = ((data / scale).round() + zero_point).clamp(0, 255)
    return float((((rounded - zero_point) * scale - data) ** 2).mean())


def normal(count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("method", "passes"), [("min-max", 1), ("moving-average", 1), ("entropy", 2), ("percentile", 2), ("mse", 2)]
)
def test_histograms_take_a_second_pass(method: recipe.Ranges, passes: int) -> None:
    assert RangeEstimator(method).passes == passes


def test_min_max_is_over_all_batches_whatever_their_shape() -> None:
    assert estimated("min-max", torch.tensor([[-1.5, 2.0]]), torch.tensor([3.25]), torch.tensor(-0.5)) == (-1.5, 3.25)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("data", "ends"), [([2.0, 5.0], (0, 5)), ([-4.0, -1.0], (-4, 0)), ([0.0, 0.0], (0, 0))])
def test_zero_is_always_inside(method: recipe.Ranges, data: list[float], ends: tuple[float, float]) -> None:
    low, high = estimated(method, torch.tensor(data))

    assert ends[0] <= low <= 0 <= high <= ends[1]
    assert (low == 0) == (ends[0] == 0)
    assert (high == 0) == (ends[1] == 0)


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(values, min_size=1, max_size=3), method=st.sampled_from(METHODS))
def test_no_range_is_wider_than_what_was_seen(batches: list[list[float]], method: recipe.Ranges) -> None:
    seen = [torch.tensor(batch) for batch in batches]
    low, high = estimated(method, *seen)

    everything = torch.cat(seen)
    assert min(0.0, everything.min().item()) <= low <= 0 <= high <= max(0.0, everything.max().item())


def test_the_moving_average_is_that_of_torch() -> None:
    observer = MovingAverageMinMaxObserver()
    batches = [normal(1000, seed) * (1 + seed) for seed in range(6)]
    for batch in batches:
        observer(batch)

    assert estimated("moving-average", *batches) == pytest.approx((observer.min_val.item(), observer.max_val.item()))


@settings(max_examples=40, deadline=None)
@given(percentile=st.floats(50, 100), seed=st.integers(0, 99), shift=st.floats(-3, 3))
def test_the_percentile_is_that_of_the_values(percentile: float, seed: int, shift: float) -> None:
    data = normal(5000, seed) + shift
    low, high = estimated("percentile", data[:2000], data[2000:], percentile=percentile)

    tail = (100 - percentile) / 2
    expected_low, expected_high = np.percentile(data.numpy(), [tail, 100 - tail])
    # In the tails of 5000 values there are gaps, the wider the farther out.
    within = 0.02 if percentile < 95 else 0.05 if percentile < 99 else 0.6
    assert low == pytest.approx(min(expected_low, 0), abs=within)
    assert high == pytest.approx(max(expected_high, 0), abs=within)


def test_the_percentile_of_evenly_spread_values_is_exact_to_a_bin() -> None:
    data = torch.linspace(-1, 3, 100_001)

    assert estimated("percentile", data, percentile=90) == pytest.approx((-0.8, 2.8), abs=4 / 2048)
    assert estimated("percentile", data, percentile=100) == (-1, 3)


def test_a_few_outliers_are_cut_off_by_every_method_that_counts() -> None:
    data = torch.cat([normal(1_000_000), torch.tensor([20.0, -15.0])])

    assert estimated("min-max", data) == (-15, 20)
    for method in ("entropy", "percentile", "mse"):
        low, high = estimated(method, data)
        assert -7 < low < -2.5, method
        assert 2.5 < high < 7, method


@pytest.mark.parametrize("one_sided", [False, True])
def test_least_squares_is_the_best_of_all_ranges_that_are_tried_by_hand(one_sided: bool) -> None:
    data = normal(200_000) ** 3  # long tails
    data = data.relu() if one_sided else data
    low, high = estimated("mse", data)

    found = squared_error(data, low, high)
    lows = [0.0] if one_sided else torch.linspace(data.min(), -0.5, 12).tolist()
    tried = [squared_error(data, a, b) for a in lows for b in torch.linspace(0.5, data.max(), 40).tolist()]
    # Of a value near zero, half of whose step is more than itself, it expects too much.
    assert found <= 1.02 * min(tried)
    assert found < 0.95 * squared_error(data, data.min().item(), data.max().item())
    assert (low == 0) == one_sided


def test_least_squares_clips_each_end_by_itself() -> None:
    data = torch.cat([torch.rand(1_000_000), torch.tensor([-1.5])])
    low, high = estimated("mse", data)

    assert -0.5 < low < 0
    assert high == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_the_zeros_of_a_relu_do_not_change_its_range(method: recipe.Ranges) -> None:
    positive = normal(50_000).abs() ** 2
    with_zeros = torch.cat([positive, torch.zeros(400_000)])

    assert estimated(method, with_zeros) == estimated(method, positive)


def test_entropy_keeps_what_fits_its_levels_as_it_is() -> None:
    assert estimated("entropy", torch.linspace(0, 1, 50_000)) == (0, 1)
    assert estimated("entropy", torch.linspace(-1, 1, 50_000)) == (-1, 1)


def test_entropy_is_the_least_of_the_divergences_written_out_one_value_at_a_time() -> None:
    data = normal(20_000).abs() ** 1.5
    counts = torch.histc(data, 2048, 0, data.max().item()).tolist()
    divergences = {stop: divergence(counts, stop) for stop in range(2048, 255, -8)}

    best = min(divergences, key=lambda stop: (divergences[stop], -stop))
    low, high = estimated("entropy", data)
    assert low == 0
    assert high == pytest.approx(data.max().item() * best / 2048, rel=1e-6)
    assert best < 2048


def divergence(counts: list[float], stop: int) -> float:
    """Return Kullback and Leibler's measure, in loops, for the bins from zero to `stop`."""
    p = [*counts[: stop - 1], counts[stop - 1] + sum(counts[stop:])]
    q = [0.0] * stop
    for level in range(256):
        bins = range(level * stop // 256, (level + 1) * stop // 256)
        filled = [bin_ for bin_ in bins if p[bin_] > 0]
        for bin_ in filled:
            q[bin_] = sum(counts[other] for other in bins) / len(filled)
    p, q = smoothed(p), smoothed(q)
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def smoothed(counts: list[float]) -> list[float]:
    shares = [max(count / sum(counts), 1e-4 / 2048) for count in counts]
    return [share / sum(shares) for share in shares]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_is_refused(method: recipe.Ranges, bad: float) -> None:
    with pytest.raises(StepError) as caught:
        estimated(method, torch.tensor([1.0, bad]))

    assert str(caught.value) == (
        "a layer's values are not all finite numbers on the calibration samples, and have no range\n"
        "  try: train the network on, or leave it in fp32: --quantize none"
    )


@pytest.mark.parametrize("method", METHODS)
def test_without_a_value_there_is_no_range(method: recipe.Ranges) -> None:
    with pytest.raises(StepError, match="calibration saw no values"):
        estimated(method, torch.empty(0))


@pytest.mark.parametrize("method", METHODS)
def test_half_precision_is_seen_as_what_it_means(method: recipe.Ranges) -> None:
    data = normal(3000).half()

    assert estimated(method, data) == estimated(method, data.float())


def test_more_values_than_torch_counts_at_once_are_all_counted() -> None:
    data = torch.full(((1 << 24) + 10,), 0.999)
    data[0], data[1] = 1.0, 0.001
    estimator = RangeEstimator("percentile", 100.0)
    for _ in range(2):
        estimator.see(data)
        estimator.end_pass()

    histogram = estimator._histogram
    assert histogram is not None
    assert histogram.counts.sum() == len(data)


@pytest.mark.parametrize("method", METHODS)
def test_a_range_is_found_in_less_than_half_a_second(method: recipe.Ranges) -> None:
    data = normal(1_000_000)
    began = time.process_time()
    estimated(method, data)

    assert time.process_time() - began < 0.5
