"""What follows from the times of several worker processes: the process is the unit, not the call."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from runner.manifest import Precision
from runner.process import Process
from runner.reason import Reason
from runner.report import Effort, Latency, Scenario, Steadiness, Stopped
from runner.stats.quantiles import median, median_interval, percentile
from runner.stats.series import autocorrelation, effective_samples, steady
from runner.worker.timing import LEAST_SAMPLES

LEAST_PROCESSES = 5
"""With fewer, no interval of the median reaches even 90 % coverage."""
CONFIDENCE = 0.99
PRECISION = 0.01
"""Half the width of the median's interval, as a share of the median, at which no more processes are started."""
MOST_SPREAD = 1.25
"""By what factor the processes' medians may differ before something else than chance is told of."""
MOST_UNSTEADY = 0.2
"""The share of processes that may drift."""
TOLERANCE = 1e-3
ROUNDED: Mapping[Precision, float] = MappingProxyType({"fp16": 2**-8, "bf16": 2**-5})
"""How far logits of the timed run may be from those of the answers, as a share of the largest: sums may be taken in
another order. A thousandth is far beyond fp32's rounding, and what one step of an int8 activation more or less does.
Logits of 16 bits lie a step apart, 2^-10 of them in fp16 and 2^-7 in bf16: four steps may come together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long to measure."""

    processes: int
    """At most."""
    warmup_s: float
    timed_s: float
    until_precise: bool = True
    """Whether fewer are enough where these tell the median well enough. Where not, courses are judged side by side, and
    a round in which one lost its process is made up for by all."""
    least_samples: int | None = None
    """Of a process, however long they take; None: as many as a summary needs."""


PLANS: Mapping[Effort, Plan] = MappingProxyType(
    {
        "quick": Plan(processes=5, warmup_s=1, timed_s=1),
        "standard": Plan(processes=10, warmup_s=3, timed_s=5),
        "rigorous": Plan(processes=20, warmup_s=3, timed_s=5),
    }
)


TURNS: Mapping[Effort, Plan] = MappingProxyType(
    {
        "quick": Plan(processes=8, warmup_s=1, timed_s=1, until_precise=False),
        "standard": Plan(processes=12, warmup_s=3, timed_s=5, until_precise=False),
        "rigorous": Plan(processes=20, warmup_s=3, timed_s=5, until_precise=False),
    }
)
"""Of two bundles that take turns: the signed-rank test needs 8 pairs for 99 %, and a process alone makes none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """What worker processes of one artifact measured in one scenario, and what became of those that did not finish."""

    scenario: Scenario
    processes: tuple[Process, ...] = ()
    failures: tuple[str, ...] = ()
    advice: str = ""
    """What to do about the first failure."""
    stopped: Stopped | None = None


def latency(timings: Timings) -> Latency | None:
    """Summarise what the worker processes measured, or return None where none has finished."""
    processes, scenario = timings.processes, timings.scenario
    if not processes:
        return None
    medians = _medians(processes)
    median_ns = median(medians)
    return Latency(
        batch=scenario.batch,
        threads=scenario.threads,
        streams=scenario.streams,
        processes=processes,
        failures=timings.failures,
        stopped=timings.stopped,
        median_ns=median_ns,
        interval=median_interval(medians, CONFIDENCE),
        p95_ns=_percentile(processes, lambda it: it.p95_ns),
        p99_ns=_percentile(processes, lambda it: it.p99_ns),
        throughput_per_s=_throughput_per_s(processes, scenario, median_ns),
        load_ns=median([process.load_ns for process in processes]),
        first_ns=median([process.first_ns for process in processes]),
        device_ns=_device_ns(processes),
        steadiness=_steadiness(processes),
    )


def timings(reported: Latency) -> Timings:
    """Return what a summary was made of."""
    return Timings(
        scenario=reported.scenario,
        processes=reported.processes,
        failures=reported.failures,
        stopped=reported.stopped,
    )


def precise(processes: Sequence[Process]) -> bool:
    """Say whether the interval of the median is as narrow as is asked for."""
    medians = _medians(processes)
    if not medians:
        return False
    interval = median_interval(medians, CONFIDENCE)
    half_width = (interval.high - interval.low) / 2
    return interval.confidence >= CONFIDENCE and half_width <= PRECISION * median(medians)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Series:
    """What follows from the samples of one process."""

    median_ns: float
    p95_ns: float | None
    p99_ns: float | None
    steady: bool | None
    lag1: float | None
    effective_n: float | None


@functools.lru_cache(maxsize=32)
def _series(samples_ns: tuple[int, ...]) -> _Series:
    """Return what follows from the samples of one process: once, though a report is made after every round."""
    return _Series(
        median_ns=median(samples_ns),
        p95_ns=percentile(samples_ns, 0.95),
        p99_ns=percentile(samples_ns, 0.99),
        steady=steady(samples_ns),
        lag1=autocorrelation(samples_ns),
        effective_n=effective_samples(samples_ns),
    )


def _medians(processes: Sequence[Process]) -> list[float]:
    return [_series(process.samples_ns).median_ns for process in processes]


def _throughput_per_s(processes: Sequence[Process], scenario: Scenario, median_ns: float) -> float:
    """Return the median over the processes of what each did in its timed window, by the length of that.

    Not from single calls: of streams that wait for each other's CPU most calls are as short as ever, and the few that
    hold the waiting are in no median. Only where no window is known is it streams x batch / median.
    """
    windows = [each.usage.ended_ns - each.usage.began_ns if each.usage else 0 for each in processes]
    if min(windows) <= 0:
        return scenario.streams * scenario.batch * 1e9 / median_ns
    done = [len(each.samples_ns) * each.calls_per_sample * scenario.batch for each in processes]
    return median([count * 1e9 / window for count, window in zip(done, windows, strict=True)])


def _percentile(processes: Sequence[Process], read: Callable[[_Series], float | None]) -> float | None:
    """Return the median of the processes' percentiles, or None where one of them has too few samples, or only means."""
    found = [read(_series(process.samples_ns)) if process.calls_per_sample == 1 else None for process in processes]
    supported = [each for each in found if each is not None]
    return median(supported) if len(supported) == len(found) else None


def _device_ns(processes: Sequence[Process]) -> float | None:
    found = [median(process.device_ns) for process in processes if process.device_ns]
    return median(found) if found else None


def _steadiness(processes: Sequence[Process]) -> Steadiness | None:
    """Return how far the samples are from independent draws, or None where no process has enough to tell."""
    found = [_series(process.samples_ns) for process in processes]
    lags = [each.lag1 for each in found if each.lag1 is not None]
    effective = [each.effective_n for each in found if each.effective_n is not None]
    if not lags or not effective:
        return None
    drifted = sum(each.steady is False for each in found)
    return Steadiness(not_steady=drifted, lag1=median(lags), effective_n=median(effective))


def peak_bytes(processes: Sequence[Process]) -> int | None:
    """Return the median of the processes' largest resident memory, or None where it could not be read."""
    peaks = [process.peak_bytes for process in processes if process.peak_bytes is not None]
    return round(median(peaks)) if peaks else None


def reasons(timings: Timings) -> tuple[Reason, ...]:
    """Return what is to be said of the processes' figures."""
    processes = timings.processes
    return (*_too_few(timings), *_crowded(timings), *_short(processes), *_scatter(processes), *_unsteady(processes))


def _too_few(timings: Timings) -> Iterator[Reason]:
    processes, failures = timings.processes, timings.failures
    count = len(processes)
    why = f"; {failures[0]}" if failures else ""
    if not processes:
        detail = f"no worker process finished{why}"
        yield Reason(code="no-latency", level="invalid", detail=detail, advice=timings.advice)
    elif count < LEAST_PROCESSES:
        detail = f"{count} worker processes finished, and a median needs {LEAST_PROCESSES}{why}"
        evidence = {"processes": float(count)}
        advice = timings.advice or "measure again"
        yield Reason(code="few-processes", level="invalid", detail=detail, evidence=evidence, advice=advice)
    least = min((len(process.samples_ns) for process in processes), default=LEAST_SAMPLES)
    if least < LEAST_SAMPLES:
        detail = f"a process had time for {least} inferences only, not for {LEAST_SAMPLES}"
        yield Reason(code="few-samples", level="caveat", detail=detail, evidence={"samples": float(least)})


def _crowded(timings: Timings) -> Iterator[Reason]:
    """Yield that there were fewer CPUs than threads; of streams that is what may have been asked for."""
    cpus = min((len(process.cpus) for process in timings.processes if process.cpus), default=0)
    scenario = timings.scenario
    if not 0 < cpus < scenario.threads * scenario.streams:
        return
    shared = f"{cpus} CPU{'s' if cpus > 1 else ''}"
    evidence = {"threads": float(scenario.threads), "streams": float(scenario.streams), "cpus": float(cpus)}
    if scenario.threads > cpus:
        detail = f"{scenario.threads} threads shared {shared}, and waited for each other"
        advice = f"--threads {cpus}"
        yield Reason(code="crowded", level="caveat", detail=detail, evidence=evidence, advice=advice)
    else:
        detail = f"{scenario.words}: they shared {shared}, and a call is longer than it is alone"
        yield Reason(code="crowded", level="note", detail=detail, evidence=evidence)


def _short(processes: Sequence[Process]) -> Iterator[Reason]:
    most = max((process.calls_per_sample for process in processes), default=1)
    if most > 1:
        detail = f"a call is so short that up to {most} were timed together, and no percentile of single calls is known"
        yield Reason(
            code="short-calls", level="note", detail=detail, evidence={"calls": float(most)}, advice="a larger --batch"
        )


def _scatter(processes: Sequence[Process]) -> Iterator[Reason]:
    medians = sorted(_medians(processes))
    if medians and medians[-1] > MOST_SPREAD * medians[0]:
        detail = f"the processes' medians lie between {medians[0] / 1e3:.4g} and {medians[-1] / 1e3:.4g} us"
        evidence = {"least_ns": medians[0], "most_ns": medians[-1]}
        advice = "end what else runs on this machine, or take fewer --threads"
        yield Reason(code="scattered", level="caveat", detail=detail, evidence=evidence, advice=advice)


def _unsteady(processes: Sequence[Process]) -> Iterator[Reason]:
    found = _steadiness(processes)
    if found and found.not_steady > MOST_UNSTEADY * len(processes):
        detail = f"latency drifted within {found.not_steady} of {len(processes)} processes while it was timed"
        evidence = {"not_steady": float(found.not_steady), "processes": float(len(processes))}
        advice = "a longer warm-up, --effort standard; or a better cooler"
        yield Reason(code="not_steady", level="caveat", detail=detail, evidence=evidence, advice=advice)


def changed_answers(
    timed: NDArray[np.float32], expected: NDArray[np.float32], precision: Precision = "fp32"
) -> Reason | None:
    """Hold the logits of a timed run against those of the answers to the same batches: batches x batch x classes.

    Where they are as near as rounding brings them they are the same answers, also those in which two classes are so
    near to each other that they change places.
    """
    if timed.shape == expected.shape and np.isfinite(timed).all():
        distances = np.abs(timed - expected).max(axis=-1)
        moved = distances > ROUNDED.get(precision, TOLERANCE) * np.max(np.abs(expected))
        if not moved.any():
            return None
        flipped = int((moved & (timed.argmax(axis=-1) != expected.argmax(axis=-1))).sum())
        what = f"{flipped} answers differ, and logits by up to {float(distances.max()):.3g}"
    else:
        what = "logits that are not finite, or of another shape"
    detail = f"while it was timed it gave other answers than before: {what}"
    return Reason(code="answers-changed", level="invalid", detail=detail, advice="another version of the runtime")
