"""What looks at activations: the ranges of the recipe's method become the scales of the target's engine."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import targets
from packager import recipe
from packager.data import Splits
from packager.quantize import Order, observer
from packager.quantize.calibration import Calibration
from runner.progress import Silent
from tests.watched import WatchedCalibration

TARGETS = {name: targets.load(name) for name in ("x86", "x86-avx2", "arm-qnnpack")}
VALUES = torch.tensor([[-1.0, 0.0, 2.0, 4.0]])


def order(plan: recipe.Quantize, splits: Splits, target: str = "arm-qnnpack") -> Order:
    """Return what is asked for."""
    calibration = Calibration(samples=splits.calibration, preprocess=splits.preprocess, progress=Silent())
    return Order(target=TARGETS[target], plan=plan, calibration=calibration)


def seen(asked: Order, values: Tensor = VALUES, ceiling: float = torch.inf) -> tuple[float, int]:
    """Return scale and zero point after one pass over some values."""
    each = observer.activations(asked, observer.largest(asked, nn.Identity()), ceiling)()
    assert torch.equal(each(values), values)
    each.estimator.end_pass()
    scale, zero_point = each.calculate_qparams()
    return float(scale), int(zero_point)


@pytest.mark.parametrize(
    ("target", "symmetric", "scale", "zero_point"),
    [
        ("arm-qnnpack", False, 5 / 255, 51),
        ("x86", False, 5 / 255, 51),
        ("x86-avx2", False, 5 / 127, 25),
        ("arm-qnnpack", True, 8 / 255, 127),
        ("x86-avx2", True, 8 / 127, 63),
    ],
)
def test_eight_bits_span_the_range_and_seven_where_the_target_needs_one_to_spare(
    target: str, symmetric: bool, scale: float, zero_point: int, few_splits: Splits
) -> None:
    found = seen(order(recipe.Quantize(symmetric=symmetric), few_splits, target))

    assert found[0] == pytest.approx(scale)
    assert found[1] == zero_point


@pytest.mark.parametrize(
    ("target", "groups", "largest"),
    [("x86", 64, 255), ("x86", 128, 127), ("x86-avx2", 1, 127), ("arm-qnnpack", 128, 255)],
)
def test_seven_bits_where_the_engine_takes_depthwise_kernels_that_saturate(
    target: str, groups: int, largest: int, few_splits: Splits
) -> None:
    network = nn.Sequential(nn.Conv2d(1, groups, 1), nn.Conv2d(groups, groups, 3, groups=groups))
    assert observer.largest(order(recipe.Quantize(), few_splits, target), network) == largest


def test_the_least_square_error_is_in_a_narrower_range_for_seven_bits(few_splits: Splits) -> None:
    asked, spans = order(recipe.Quantize(ranges="mse"), few_splits), []
    spread = torch.randn(100_000, generator=torch.Generator().manual_seed(0))
    for quant_max in (255, 127):
        each = observer.activations(asked, quant_max)()
        for _ in range(2):
            each(spread)
            each.estimator.end_pass()
        spans.append(each.calculate_qparams()[0].item() * quant_max)

    assert spans[1] < 0.97 * spans[0]


def test_zero_has_an_integer_of_its_own_where_all_values_are_positive(few_splits: Splits) -> None:
    found = seen(order(recipe.Quantize(), few_splits), torch.tensor([2.0, 5.1]))
    assert found[0] == pytest.approx(0.02)
    assert found[1] == 0


def test_values_above_a_ceiling_count_as_the_ceiling(few_splits: Splits) -> None:
    found = seen(order(recipe.Quantize(), few_splits), torch.tensor([0.0, 3.0, 60.0]), ceiling=6.0)
    assert found[0] == pytest.approx(6 / 255)
    assert found[1] == 0


@pytest.mark.parametrize(("ranges", "passes"), [("min-max", 1), ("moving-average", 1), ("percentile", 2), ("mse", 2)])
def test_every_sample_is_seen_as_often_as_the_method_needs(
    ranges: recipe.Ranges, passes: int, few_splits: Splits
) -> None:
    watched = WatchedCalibration(samples=few_splits.calibration, preprocess=few_splits.preprocess, progress=Silent())
    asked = Order(target=TARGETS["x86"], plan=recipe.Quantize(ranges=ranges), calibration=watched)
    network = nn.Sequential(observer.activations(asked, 255)())
    observer.calibrate(network, asked)

    assert [len(batch) for batch in watched.batches_seen] == passes * [32, 32, 6]
    scale, _ = network[0].calculate_qparams()  # type: ignore[operator]  # a method
    everything = np.concatenate(watched.batches_seen)
    assert 0 < scale.item() <= (everything.max() - everything.min()) / 255 * 1.001


def test_the_percentile_of_the_recipe_is_taken(few_splits: Splits) -> None:
    spread = torch.linspace(0, 100, 100_001)
    scales = []
    for percentile in (99.0, 80.0):
        each = observer.activations(
            order(recipe.Quantize(ranges="percentile", percentile=percentile), few_splits), 255
        )()
        for _ in range(2):
            each(spread)
            each.estimator.end_pass()
        scales.append(each.calculate_qparams()[0].item())

    assert scales[1] < 0.95 * scales[0]


def test_one_sample_is_as_the_network_sees_it(few_splits: Splits) -> None:
    expected = few_splits.preprocess.apply(few_splits.calibration.take(slice(0, 1)))
    assert np.array_equal(observer.sample(order(recipe.Quantize(), few_splits)).numpy(), expected)
