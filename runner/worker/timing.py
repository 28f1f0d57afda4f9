"""The times of one artifact in this process, from the import of its runtime on, and what happened meanwhile."""

import gc
import os
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from runner.process import Process, Usage
from runner.runtimes import Session, load_runtime
from runner.worker.loop import Inputs, Phase, calls_per_sample, in_time_order, measure_harness, slowed, time_streams
from runner.worker.memory import Peaks, resident_bytes, swapped_bytes
from runner.worker.order import Order, Timing
from runner.worker.samples import prepared, rotation

LEAST_WARMUPS = 10
LEAST_SAMPLES = 100
DEVICE_CALLS = 100
"""Calls whose time on an accelerator is taken by its own events, after all the others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Border:
    """What this process had used at one border of its timed window."""

    monotonic_ns: int
    major_faults: int
    involuntary_switches: int
    cpu_ns: int


def time_calls(order: Order, timing: Timing, tell: Callable[[bool], None]) -> Mapping[str, object]:
    """Take the time of every call, and write the logits of the batches that it saw.

    `tell` is called with True just before the timed window, and with False just after it.
    """
    job, peaks = order.job, Peaks()
    began_ns = time.perf_counter_ns()
    runtime = load_runtime(job.format)
    imported_ns = time.perf_counter_ns()
    import_peak, imported_bytes = peaks.end_phase(), resident_bytes()
    loading_ns = time.perf_counter_ns()
    session = runtime.load(job.file, job.options)
    loaded_ns = time.perf_counter_ns()
    load_peak, loaded_bytes = peaks.end_phase(), resident_bytes()
    sessions = [session, *(runtime.load(job.file, job.options) for _ in range(timing.streams - 1))]
    indices = rotation(job, timing.seed)
    inputs = [prepared(job, index * job.batch, job.batch) for index in indices]
    # No collection in the middle of a call, and none of what stands now in those that a runtime may ask for.
    gc.collect()
    gc.freeze()
    gc.disable()
    harness = measure_harness()
    runs = [slowed(each.run, timing.slowdown) for each in sessions]
    (first,) = time_streams(runs[:1], inputs, Phase(seconds=0.0, least=1))
    warm = time_streams(runs, inputs, Phase(seconds=timing.warmup_s, least=LEAST_WARMUPS))
    # Here, and not at the end: the timed calls need no more than these, but the record of their times grows.
    run_peak, peak = peaks.end_phase(), peaks.overall()
    warm_ns = in_time_order(warm)
    calls = calls_per_sample(warm_ns, harness)
    least = timing.least_samples or max(LEAST_SAMPLES, len(inputs))
    phase = Phase(seconds=timing.timed_s, least=least, calls=calls)
    tell(True)
    # Nothing but the calls of all streams lies between these two: throughput is what was done by this time.
    began = _border()
    timed = time_streams(runs, inputs, phase)
    ended = _border()
    tell(False)
    batches = [index for stream in timed for index in indices[: len(stream.outputs)]]
    # Before the calls for the accelerator's own time, which are one stream's alone.
    gpu = session.device_memory()
    np.save(order.output, np.stack([output for stream in timed for output in stream.outputs]), allow_pickle=False)
    process = Process(
        import_ns=imported_ns - began_ns,
        load_ns=loaded_ns - loading_ns,
        first_ns=first.samples_ns[0],
        warmup_ns=tuple(warm_ns),
        samples_ns=tuple(in_time_order(timed)),
        calls_per_sample=calls,
        device_ns=_device_times(session, inputs),
        harness=harness,
        usage=_usage(began, ended),
        cpus=tuple(sorted(os.sched_getaffinity(0))),
        imported_bytes=imported_bytes,
        loaded_bytes=loaded_bytes,
        import_peak_bytes=import_peak,
        load_peak_bytes=load_peak,
        run_peak_bytes=run_peak,
        peak_bytes=peak,
        gpu_allocated_bytes=gpu.allocated_bytes if gpu else None,
        gpu_reserved_bytes=gpu.reserved_bytes if gpu else None,
    )
    return {"provider": session.provider, "version": session.version, "batches": batches, "process": asdict(process)}


def _device_times(session: Session, inputs: Sequence[Inputs]) -> tuple[int, ...]:
    """Return the accelerator's own times, or none where the runtime has no events of it."""
    if session.device_ns(inputs[0]) is None:
        return ()
    times = (session.device_ns(inputs[index % len(inputs)]) for index in range(DEVICE_CALLS))
    return tuple(each for each in times if each is not None)


def _border() -> _Border:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return _Border(
        monotonic_ns=time.monotonic_ns(),
        major_faults=used.ru_majflt,
        involuntary_switches=used.ru_nivcsw,
        cpu_ns=round((used.ru_utime + used.ru_stime) * 1e9),
    )


def _usage(began: _Border, ended: _Border) -> Usage:
    return Usage(
        began_ns=began.monotonic_ns,
        ended_ns=ended.monotonic_ns,
        major_faults=ended.major_faults - began.major_faults,
        involuntary_switches=ended.involuntary_switches - began.involuntary_switches,
        cpu_ns=ended.cpu_ns - began.cpu_ns,
        swap_bytes=swapped_bytes(),
    )
