"""The summary of a latency, held against the times of its processes."""

from collections.abc import Iterator

from runner.measure import latency
from runner.report import Latency
from runner.verify.differences import differences

SINCE_1_2 = ("p99_ns", "device_ns", "steadiness.not_steady", "steadiness.lag1", "steadiness.effective_n")


def latency_contradictions(path: str, reported: Latency, *, knows_all: bool) -> Iterator[str]:
    """Yield each figure that is not what the processes give; `knows_all` is false of schemas before 1.2."""
    computed = latency.latency(latency.timings(reported))
    assert computed is not None  # a record without processes is malformed, and has been refused
    given, found = _figures(reported), _figures(computed)
    known = [name for name in given if knows_all or name not in SINCE_1_2]
    yield from differences(path, {name: (given[name], found[name]) for name in known})


def _figures(summary: Latency) -> dict[str, float | None]:
    return {
        "median_ns": summary.median_ns,
        "interval.low": summary.interval.low,
        "interval.high": summary.interval.high,
        "interval.confidence": summary.interval.confidence,
        "p95_ns": summary.p95_ns,
        "p99_ns": summary.p99_ns,
        "throughput_per_s": summary.throughput_per_s,
        "load_ns": summary.load_ns,
        "first_ns": summary.first_ns,
        "device_ns": summary.device_ns,
        "steadiness.not_steady": summary.steadiness.not_steady if summary.steadiness else None,
        "steadiness.lag1": summary.steadiness.lag1 if summary.steadiness else None,
        "steadiness.effective_n": summary.steadiness.effective_n if summary.steadiness else None,
    }
