"""The time that each operator of an artifact takes, as a runtime's own profile tells it.

Light: the worker itself imports it.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorTime:
    """One operator of an artifact. Profiling makes every one longer: its share says more than its time."""

    name: str
    """The node's name in ONNX; in TorchScript, which has none, which one of its type it is."""
    op_type: str
    """`Conv`, `quantized::conv2d_relu` …"""
    calls: float
    """In one inference."""
    mean_ns: float
    """In one inference, over all of its calls there: the mean of the middle half of the inferences."""
    share: float
    """Of the time of all operators."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """One call of an operator."""

    name: str
    op_type: str
    inference: int
    """In which it was called, from 0."""
    duration_ns: float


def operator_times(spans: Iterable[Span], inferences: int) -> tuple[OperatorTime, ...]:
    """Return the time of each operator in one inference, the dearest first."""
    calls = Counter[tuple[str, str]]()
    took: dict[tuple[str, str], list[float]] = {}
    for span in spans:
        key = (span.name, span.op_type)
        calls[key] += 1
        took.setdefault(key, [0.0] * inferences)[span.inference] += span.duration_ns
    means = {key: _interquartile_mean(times) for key, times in took.items()}
    # Where a clock counts whole microseconds, all of a very small network can take none.
    total = sum(means.values()) or 1.0
    return tuple(
        OperatorTime(name=key[0], op_type=key[1], calls=calls[key] / inferences, mean_ns=mean, share=mean / total)
        for key, mean in sorted(means.items(), key=lambda item: -item[1])
    )


def _interquartile_mean(values: Sequence[float]) -> float:
    """Return the mean of the middle half of the values.

    One call that the system interrupts for milliseconds would make a mean its own; and a median of whole microseconds,
    which is how ONNX Runtime counts, is too coarse for short operators.
    """
    ordered, quarter = sorted(values), len(values) // 4
    middle = ordered[quarter : len(ordered) - quarter]
    return sum(middle) / len(middle)
