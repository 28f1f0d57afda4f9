from collections.abc import Sequence

import pytest

from runner.operators import OperatorTime, Span, operator_times


def _times(durations: Sequence[float], name: str = "conv", op_type: str = "Conv") -> list[Span]:
    """Return one call in each inference."""
    return [
        Span(name=name, op_type=op_type, inference=inference, duration_ns=duration)
        for inference, duration in enumerate(durations)
    ]


def _only(spans: Sequence[Span], inferences: int) -> OperatorTime:
    (found,) = operator_times(spans, inferences)
    return found


def test_the_dearest_operator_comes_first_with_its_time_and_share_of_one_inference() -> None:
    spans = [*_times([100.0, 300.0], "relu", "Relu"), *_times([500.0, 700.0])]
    conv, relu = operator_times(spans, inferences=2)
    assert (conv.name, conv.op_type, conv.calls, conv.mean_ns, conv.share) == ("conv", "Conv", 1.0, 600.0, 0.75)
    assert (relu.name, relu.calls, relu.mean_ns, relu.share) == ("relu", 1.0, 200.0, 0.25)


def test_an_operator_that_is_called_twice_in_an_inference_takes_both_times_in_it() -> None:
    found = _only([*_times([10.0, 30.0]), *_times([20.0, 40.0])], inferences=2)
    assert (found.calls, found.mean_ns, found.share) == (2.0, 50.0, 1.0)


@pytest.mark.parametrize(
    ("durations", "mean"),
    [
        ([3.0], 3.0),
        ([1.0, 2.0, 6.0], 3.0),
        ([1.0, 2.0, 3.0, 8_000_000.0], 2.5),
        ([2.0, 2.0, 2.0, 2.0, 3.0, 3.0, 3.0, 8_000_000.0], 2.5),
    ],
)
def test_its_time_is_the_mean_of_the_middle_half_of_the_inferences(durations: Sequence[float], mean: float) -> None:
    assert _only(_times(durations), len(durations)).mean_ns == mean


def test_an_operator_that_few_inferences_call_takes_no_time_in_the_others() -> None:
    found = _only(_times([8.0, 8.0]), inferences=4)
    assert (found.calls, found.mean_ns) == (0.5, 4.0)


def test_nodes_of_one_name_and_other_types_are_kept_apart() -> None:
    spans = [*_times([1.0], "", "Conv"), *_times([1.0], "", "Relu")]
    assert {found.op_type for found in operator_times(spans, inferences=1)} == {"Conv", "Relu"}


def test_operators_too_short_for_the_clock_have_no_share() -> None:
    found = _only(_times([0.0]), inferences=1)
    assert (found.mean_ns, found.share) == (0.0, 0.0)
    assert operator_times([], inferences=1) == ()
