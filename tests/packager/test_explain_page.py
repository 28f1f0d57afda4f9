"""The page that names the first layer that diverges."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from packager.explain.divergence import Array, Divergence, first_divergence
from packager.explain.page import divergence_page
from packager.explain.probe import Layer, Probe
from runner.measure.tensors import Tensors
from runner.render.page import Table, as_markdown, as_text

LOGITS = np.array([[1.0, -2.0]], np.float32)
OTHERS = LOGITS + np.array([[0.0, 0.125]], np.float32)


def integers(*steps: int) -> Array:
    """Return 4,096 values, the first of them with these steps added."""
    values = np.full(4096, 100, np.uint8)
    values[: len(steps)] = [100 + step for step in steps]
    return values


def divergence(*layers: Array, logits: Array = LOGITS, operator: str = "QLinearConv") -> Divergence:
    """Return how a device that found these layers differs from a host that has found none of the steps."""
    named = tuple(Layer(name=f"conv{place}", operator=operator) for place in range(1, 1 + len(layers)))
    probe = Probe(artifact="int8.onnx", precision="int8", path=Path("probe.onnx"), layers=named)
    host = tuple(np.full_like(layer, 100) for layer in layers)
    ours, theirs = Tensors(logits=LOGITS, probed=(LOGITS, *host)), Tensors(logits=logits, probed=(logits, *layers))
    return first_divergence(probe, 17, ours, theirs)


def sentences(found: Divergence) -> list[str]:
    return [block for block in divergence_page(found) if isinstance(block, str)]


def test_the_first_layer_that_diverges_is_named_with_its_steps_and_what_becomes_of_them() -> None:
    found = divergence(integers(), integers(), integers(1, -1), integers(2, 1, -3), logits=OTHERS)
    assert sentences(found) == [
        "int8.onnx: layers 1 and 2 are identical; the first that diverges is conv3 (QLinearConv): 2 of 4,096 values "
        "differ by 1 step.",
        "After it the difference grows to 3 steps, in conv4 (QLinearConv).",
        "The logits differ by at most 0.12.",
        "Floats that lie apart by at most 1e-05 of the largest in their layer count as rounding, as of sums of the "
        "same values in another order.",
    ]


def test_the_table_has_every_layer_and_the_logits() -> None:
    text = as_text(divergence_page(divergence(integers(), integers(1, -2), integers(1))))
    assert text.splitlines()[-6:] == [
        "   layer   operator     values  differ   share  by at most    verdict",
        "─" * 69,
        "1  conv1   QLinearConv   4,096       —       —           —  identical",
        "2  conv2   QLinearConv   4,096       2  0.05 %     2 steps   diverges",
        "3  conv3   QLinearConv   4,096       1  0.02 %      1 step   diverges",
        "   logits                    2       —       —           —  identical",
    ]
    assert "| **2** | conv2  |" in as_markdown(divergence_page(divergence(integers(), integers(1))))


def test_many_identical_layers_take_one_row() -> None:
    found = divergence(*[integers()] * 6, integers(1), *[integers()] * 2)
    (table,) = (block for block in divergence_page(found) if isinstance(block, Table))
    assert [row[:2] for row in table.rows] == [
        ("1-6", "conv1 … conv6"),
        ("7", "conv7"),
        ("8", "conv8"),
        ("9", "conv9"),
        ("", "logits"),
    ]
    assert table.rows[0][2:] == ("", "24,576", "—", "—", "—", "identical")
    assert table.best == 1


def test_a_difference_that_vanishes_is_told_so() -> None:
    found = divergence(integers(1), integers(1), integers())
    assert sentences(found) == [
        "int8.onnx: the first of its 3 layers diverges already, conv1 (QLinearConv): 1 of 4,096 values differs by 1 "
        "step.",
        "After it no difference is larger.",
        "It vanishes after conv2 (QLinearConv): what follows is identical.",
        "The logits are identical.",
    ]


def test_one_layer_before_is_one_layer() -> None:
    (first, *_) = sentences(divergence(integers(), integers(-4)))
    assert first == (
        "int8.onnx: layer 1 is identical; the first that diverges is conv2 (QLinearConv): 1 of 4,096 values differs "
        "by at most 4 steps."
    )


def test_a_layer_that_the_host_has_no_integer_kernel_for_says_so() -> None:
    found = divergence(integers(), integers(1), operator="Conv + QuantizeLinear")
    assert sentences(found)[1] == (
        "On the host ONNX Runtime computes this layer in float32 and rounds it afterwards. Where the device has an "
        "integer kernel for it, what lies near the middle of two steps may become the other one."
    )


def test_where_nothing_diverges_the_page_says_what_that_means() -> None:
    assert sentences(divergence(integers(), integers())) == [
        "int8.onnx: every one of its 2 layers is identical, bit for bit, and so are the logits: both machines compute "
        "the same for this sample. What differs in their reports comes from other numbers of threads, another batch, "
        "or another sample."
    ]


def test_logits_that_differ_behind_equal_layers_are_not_hidden() -> None:
    (first, *_) = sentences(divergence(integers(), logits=OTHERS))
    assert first == (
        "int8.onnx: its only layer is identical, bit for bit, and yet the logits differ by at most 0.12: "
        "what differs comes after the last layer that can be shown, or in what a runtime fuses only where nothing "
        "between the layers is asked for."
    )


def test_floats_that_are_only_rounded_otherwise_do_not_diverge() -> None:
    values = np.full(4096, 100, np.float32)
    rounded = values + np.float32(1e-4)
    nearly = LOGITS + np.array([[0.0, 1e-6]], np.float32)
    (first, *others) = sentences(divergence(values, rounded, logits=nearly))
    assert first == (
        "int8.onnx: every one of its 2 layers is the same but for rounding: the logits differ by at most 9.5e-07, "
        "which is rounding too."
    )
    assert len(others) == 1


def test_a_probe_that_answers_otherwise_than_its_artifact_is_told_of() -> None:
    found = replace(divergence(integers(), integers(1)), device_disturbed=0.0625)
    assert sentences(found)[-1] == (
        "On the device the further outputs change the logits by 0.062: the runtime fuses other layers there, and the "
        "table is only near to what the artifact itself computes."
    )
