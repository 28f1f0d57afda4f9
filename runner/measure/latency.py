"""What follows from the times of several worker processes: the process is the unit, not the call."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from runner import stats
from runner.report import Effort, Latency, Process, Reason
from runner.worker import LEAST_SAMPLES

LEAST_PROCESSES = 5
"""With fewer, no interval of the median reaches even 90 % coverage."""
MOST_SPREAD = 1.25
"""By what factor the processes' medians may differ before something else than chance is told of."""
TOLERANCE = 1e-3
"""How far logits of the timed run may be from those of the answers, as a share of the largest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How long to measure."""

    processes: int
    warmup_s: float
    timed_s: float


PLANS: Mapping[Effort, Plan] = MappingProxyType(
    {
        "quick": Plan(processes=5, warmup_s=1, timed_s=1),
        "standard": Plan(processes=10, warmup_s=3, timed_s=5),
        "rigorous": Plan(processes=20, warmup_s=3, timed_s=5),
    }
)


def latency(processes: Sequence[Process], failures: Sequence[str], batch: int) -> Latency | None:
    """Summarise what the worker processes measured, or return None where none has finished."""
    if not processes:
        return None
    medians = [stats.median(process.samples_ns) for process in processes]
    p95s = [p95 for process in processes if (p95 := stats.percentile(process.samples_ns, 0.95)) is not None]
    median_ns = stats.median(medians)
    return Latency(
        batch=batch,
        processes=tuple(processes),
        failures=tuple(failures),
        median_ns=median_ns,
        interval=stats.median_interval(medians),
        p95_ns=stats.median(p95s) if len(p95s) == len(processes) else None,
        throughput_per_s=batch * 1e9 / median_ns,
        load_ns=stats.median([process.load_ns for process in processes]),
        first_ns=stats.median([process.first_ns for process in processes]),
    )


def peak_bytes(processes: Sequence[Process]) -> int | None:
    """Return the median of the processes' largest resident memory, or None where it could not be read."""
    peaks = [process.peak_bytes for process in processes if process.peak_bytes is not None]
    return round(stats.median(peaks)) if peaks else None


def reasons(processes: Sequence[Process], failures: Sequence[str]) -> tuple[Reason, ...]:
    """Return what is to be said of the processes' figures."""
    found = []
    why = f"; {failures[0]}" if failures else ""
    if not processes:
        found.append(Reason(code="no-latency", level="invalid", detail=f"no worker process finished{why}"))
    elif len(processes) < LEAST_PROCESSES:
        detail = f"{len(processes)} worker processes finished, and a median needs {LEAST_PROCESSES}{why}"
        found.append(Reason(code="few-processes", level="invalid", detail=detail, advice="measure again"))
    least = min((len(process.samples_ns) for process in processes), default=LEAST_SAMPLES)
    if least < LEAST_SAMPLES:
        detail = f"a process had time for {least} inferences only, not for {LEAST_SAMPLES}"
        found.append(Reason(code="few-samples", level="caveat", detail=detail))
    return (*found, *_scatter(processes))


def _scatter(processes: Sequence[Process]) -> Iterator[Reason]:
    medians = sorted(stats.median(process.samples_ns) for process in processes)
    if medians and medians[-1] > MOST_SPREAD * medians[0]:
        detail = f"the processes' medians lie between {medians[0] / 1e3:.4g} and {medians[-1] / 1e3:.4g} us"
        advice = "end what else runs on this machine, or take fewer --threads"
        yield Reason(code="scattered", level="caveat", detail=detail, advice=advice)


def changed_answers(timed: NDArray[np.float32], expected: NDArray[np.float32]) -> Reason | None:
    """Hold the logits of a timed run against those of the answers to the same batches: batches x batch x classes."""
    if timed.shape == expected.shape and np.isfinite(timed).all():
        flipped = int((timed.argmax(axis=-1) != expected.argmax(axis=-1)).sum())
        distance = float(np.max(np.abs(timed - expected)))
        if not flipped and distance <= TOLERANCE * float(np.max(np.abs(expected))):
            return None
        what = f"{flipped} answers differ, and logits by up to {distance:.3g}"
    else:
        what = "logits that are not finite, or of another shape"
    detail = f"while it was timed it gave other answers than before: {what}"
    return Reason(code="answers-changed", level="invalid", detail=detail, advice="another version of the runtime")
