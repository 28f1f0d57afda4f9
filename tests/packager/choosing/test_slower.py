"""Which integers are slower than what is not quantized, beyond noise."""

from packager.choosing.slower import doubtful, slower
from runner.fastest import Cost
from runner.interval import Interval

INTEGERS = {"int8.onnx", "int8.litert"}


def cost(median: float, low: float, high: float) -> Cost:
    """Return a cost in nanoseconds, with its interval."""
    interval = Interval(low=low, high=high, confidence=0.75, method="order statistics of the median")
    return Cost(median_ns=median, interval=interval)


FP32, FP16 = cost(100, 98, 104), cost(120, 115, 125)


def test_integers_beyond_the_interval_of_the_fastest_float_are_slower_and_by_how_much_is_told() -> None:
    costs = {"fp16.onnx": FP16, "fp32.onnx": FP32, "int8.litert": cost(131, 105, 150), "int8.onnx": cost(50, 49, 51)}
    assert slower(costs, INTEGERS) == {"int8.litert": "slower than fp32.onnx: it takes 1.31 times as long"}


def test_integers_whose_interval_overlaps_that_of_the_fastest_float_are_not() -> None:
    assert slower({"fp32.onnx": FP32, "int8.litert": cost(131, 104, 150)}, INTEGERS) == {}
    assert slower({"fp32.onnx": FP32, "int8.litert": cost(90, 80, 99)}, INTEGERS) == {}


def test_floats_may_be_as_slow_as_they_are_and_integers_alone_have_nothing_to_be_slower_than() -> None:
    assert slower({"fp32.onnx": FP32, "fp16.onnx": FP16}, INTEGERS) == {}
    assert slower({"int8.onnx": FP32, "int8.litert": FP16}, INTEGERS) == {}


def test_integers_that_look_about_as_slow_are_doubtful_together_with_the_float_unless_they_are_hopeless() -> None:
    costs_ns = {"fp32.onnx": 100.0, "fp16.onnx": 120.0, "int8.onnx": 150.0, "int8.litert": 201.0}
    assert doubtful(costs_ns, INTEGERS, 2.0) == {"fp32.onnx", "int8.onnx"}
    assert doubtful(costs_ns | {"int8.onnx": 51.0}, INTEGERS, 2.0) == {"fp32.onnx", "int8.onnx"}
    assert doubtful(costs_ns | {"int8.onnx": 50.0}, INTEGERS, 2.0) == set()
    assert doubtful({"int8.onnx": 150.0}, INTEGERS, 2.0) == set()
