"""What two machines found, held against each other: arrays with known differences."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from packager.explain.divergence import BEYOND, Array, first_divergence, worst_sample
from packager.explain.probe import Layer, Probe
from runner.errors import MeasurementError
from runner.manifest import Precision
from runner.measure.tensors import Tensors
from tests import reports

LAYERS = tuple(Layer(name=name, operator="QLinearConv") for name in ("conv1", "conv2", "conv3"))
LOGITS = np.array([[1.0, -2.0, 0.5]], np.float32)


def probe(precision: Precision = "int8") -> Probe:
    return Probe(artifact=f"{precision}.onnx", precision=precision, path=Path("probe.onnx"), layers=LAYERS)


def integers(*changes: tuple[int, int]) -> Array:
    """Return 8 values with these steps added, by their places."""
    values = np.arange(0, 240, 30, dtype=np.uint8)
    for place, steps in changes:
        values[place] = int(values[place]) + steps
    return values


def found(*layers: Array, logits: Array = LOGITS, probed: Array | None = None) -> Tensors:
    return Tensors(logits=logits, probed=(logits if probed is None else probed, *layers))


HOST = found(integers(), integers(), integers())


def test_the_first_layer_with_one_step_of_difference_is_named() -> None:
    device = found(integers(), integers((1, 1), (7, -1)), integers((2, 3)))
    result = first_divergence(probe(), 5, HOST, device)
    assert (result.artifact, result.sample, result.first) == ("int8.onnx", 5, 1)
    assert [(it.layer.name, it.differing, it.largest, it.diverges) for it in result.layers] == [
        ("conv1", 0, 0.0, False),
        ("conv2", 2, 1.0, True),
        ("conv3", 1, 3.0, True),
    ]
    assert [(it.values, it.integer) for it in result.layers] == [(8, True)] * 3


def test_steps_of_unsigned_integers_do_not_wrap_round() -> None:
    device = found(integers((0, 255), (7, -210)), integers(), integers())
    (first, *_) = first_divergence(probe(), 0, HOST, device).layers
    assert first.largest == 255.0
    assert first.relative == pytest.approx(255 / 210)


@pytest.mark.parametrize(
    ("precision", "apart", "diverges"),
    [
        ("fp32", 9e-6, False),
        ("fp32", 1.1e-5, True),
        ("fp16", 0.003, False),
        ("fp16", 0.005, True),
        ("bf16", 0.03, False),
    ],
)
def test_floats_may_differ_by_roundings_of_their_type(precision: Precision, apart: float, diverges: bool) -> None:
    # Of the largest value of the layer, which is 4.
    host = np.array([4.0, 0.0, -1.0], np.float64)
    device = host + np.array([0.0, 4 * apart, 0.0])
    result = first_divergence(probe(precision), 0, found(host, host, host), found(host, device, host))
    second = result.layers[1]
    assert (second.integer, second.differing, second.diverges) == (False, 1, diverges)
    assert second.relative == pytest.approx(apart)
    assert result.first == (1 if diverges else None)


def test_a_nan_on_one_side_alone_is_as_far_as_can_be() -> None:
    clean, broken = np.array([1.0, 2.0], np.float32), np.array([np.nan, 2.0], np.float32)
    result = first_divergence(probe("fp32"), 0, found(broken, clean, clean), found(broken, broken, clean))
    assert [(it.differing, it.largest) for it in result.layers] == [(0, 0.0), (1, BEYOND), (0, 0.0)]
    assert result.first == 1


def test_what_further_outputs_do_to_the_logits_of_each_side_is_kept_apart_from_the_difference() -> None:
    own = LOGITS + np.array([[0.0, 0.0, 0.25]], np.float32)
    device = found(integers(), integers(), integers(), logits=own, probed=LOGITS)
    result = first_divergence(probe(), 0, HOST, device)
    assert (result.host_disturbed, result.device_disturbed) == (0.0, 0.25)
    assert (result.logits.differing, result.logits.largest) == (1, 0.25)
    assert result.first is None


def test_tensors_of_another_probe_are_refused() -> None:
    with pytest.raises(MeasurementError) as caught:
        first_divergence(probe(), 0, HOST, found(integers()))
    assert str(caught.value) == (
        "int8.onnx: 4 tensors were asked for, and the device returned 2\n  try: the same bundle and probe on both sides"
    )
    with pytest.raises(MeasurementError) as caught:
        first_divergence(probe(), 0, HOST, found(integers(), integers().astype(np.int8), integers()))
    assert caught.value.what == "conv2: uint8 (8,) on the host, int8 (8,) on the device"


def test_the_worst_sample_is_what_the_report_names() -> None:
    accuracy = replace(reports.accuracy(), identical_to_host=False, max_abs_difference=0.5)
    assert worst_sample(replace(accuracy, furthest_sample=7)) == 7
    assert worst_sample(replace(accuracy, furthest_sample=7, identical_to_host=True)) is None


def test_of_an_older_report_it_is_the_flip_with_the_widest_margins() -> None:
    accuracy = replace(reports.accuracy(), identical_to_host=False, max_abs_difference=0.5)
    flips = tuple(replace(reports.flip(), sample=sample, host_margin=margin) for sample, margin in ((3, 0.1), (9, 0.4)))
    assert worst_sample(replace(accuracy, flips=flips)) == 9
    assert worst_sample(accuracy) is None
