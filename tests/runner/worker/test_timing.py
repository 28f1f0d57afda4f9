"""What a worker measures from the import of its runtime on, with a runtime and a clock that are made up."""

import gc
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from runner import codec
from runner.arrays import ArrayLocation
from runner.process import Process
from runner.runtimes import DeviceMemory, Options
from runner.worker import timing
from runner.worker.loop import Inputs, Logits, Took, in_time_order
from runner.worker.order import Job, Order, Timing
from runner.worker.samples import prepared, rotation
from runner.worker.timing import DEVICE_CALLS, LEAST_SAMPLES, LEAST_WARMUPS, time_calls
from runner.workers import Result
from tests import networks
from tests.runner.worker.clocks import FakeClock

SAMPLES = 40
READING_NS = 50


@dataclass
class FakeSession:
    """Answers with the mean of each sample, and takes what it is told to."""

    clock: FakeClock
    call_ns: int
    events_ns: int | None = None
    provider: str = "FakeProvider"
    version: str = "1.0"

    def run(self, inputs: Inputs) -> Logits:
        """Take the time of a call."""
        self.clock.pass_by(self.call_ns)
        return answers(inputs)

    def device_ns(self, inputs: Inputs) -> int | None:
        """Return what the accelerator's events would say."""
        return self.events_ns

    def device_memory(self) -> DeviceMemory | None:
        """Return what an accelerator would have given out, where there is one."""
        return DeviceMemory(allocated_bytes=5, reserved_bytes=7) if self.events_ns else None


@dataclass
class FakeRuntime:
    """Loads sessions that share a clock."""

    clock: FakeClock
    call_ns: int = 1_000_000
    events_ns: int | None = None
    loaded: list[FakeSession] = field(default_factory=list)

    def load(self, path: Path, options: Options) -> FakeSession:
        """Take the time of a load."""
        self.clock.pass_by(7_000_000)
        self.loaded.append(FakeSession(clock=self.clock, call_ns=self.call_ns, events_ns=self.events_ns))
        return self.loaded[-1]


def answers(inputs: Inputs) -> Logits:
    """Return one logit a sample, which tells which it was."""
    return np.asarray(inputs.mean(axis=(1, 2, 3))[:, None], np.float32)


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeRuntime]:
    """Put a runtime and a clock in the place of real ones, and set back what a worker does to its own process."""
    found = FakeRuntime(clock=FakeClock(reading_ns=READING_NS))

    def load_runtime(_: object) -> FakeRuntime:
        found.clock.pass_by(30_000_000)
        return found

    monkeypatch.setattr(timing, "load_runtime", load_runtime)
    monkeypatch.setattr(time, "perf_counter_ns", found.clock)
    yield found
    gc.enable()
    gc.unfreeze()


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Return a job of forty samples."""
    samples = networks.inputs(SAMPLES)
    path = tmp_path / "inputs.bin"
    path.write_bytes(samples.tobytes())
    return Job(
        file=tmp_path / "net.onnx",
        format="onnx",
        options=Options(threads=1),
        inputs=ArrayLocation(path=path, offset=0, shape=samples.shape, dtype="|u1"),
        preprocess=networks.PREPROCESS,
    )


def timed(job: Job, how: Timing, told: list[bool] | None = None) -> tuple[Process, Logits]:
    """Take times, send the result through JSON as a worker does, and return the record and the logits."""
    output = job.inputs.path.with_name("logits.npy")
    order = Order(job=job, timing=how, output=output, parent=os.getppid())
    result = codec.structure(
        Result, codec.unstructure(time_calls(order, how, (told if told is not None else []).append))
    )
    assert (result.provider, result.version) == ("FakeProvider", "1.0")
    assert result.batches == tuple(rotation(job, how.seed)) * how.streams
    assert result.process is not None
    return result.process, np.load(output)


BRIEF = Timing(warmup_s=0, timed_s=0, seed=3)


def test_a_first_look_takes_as_few_samples_as_it_is_told(runtime: FakeRuntime, job: Job) -> None:
    process, _ = timed(job, replace(BRIEF, least_samples=20))
    assert len(process.samples_ns) == 20


def test_import_load_and_first_inference_are_taken_apart_from_the_timed_calls(runtime: FakeRuntime, job: Job) -> None:
    process, logits = timed(job, BRIEF)
    sample_ns = 1_000_000 + READING_NS
    assert (process.import_ns, process.load_ns) == (30_000_000 + READING_NS, 7_000_000 + READING_NS)
    assert (process.first_ns, process.warmup_ns) == (sample_ns, (sample_ns,) * LEAST_WARMUPS)
    assert (process.samples_ns, process.calls_per_sample) == ((sample_ns,) * LEAST_SAMPLES, 1)
    assert process.harness is not None
    assert (process.harness.resolution_ns, process.harness.overhead_ns) == (READING_NS, READING_NS)
    assert process.device_ns == ()
    expected = [answers(prepared(job, index, 1)) for index in rotation(job, 3)]
    assert np.array_equal(logits, np.stack(expected))


def test_warm_up_and_timed_window_go_on_for_as_long_as_they_shall(runtime: FakeRuntime, job: Job) -> None:
    told: list[bool] = []
    process, _ = timed(job, Timing(warmup_s=0.0505, timed_s=0.505, seed=0), told)
    assert (len(process.warmup_ns), len(process.samples_ns)) == (51, 505)
    assert told == [True, False]


def test_the_usage_is_that_of_the_timed_window(runtime: FakeRuntime, job: Job) -> None:
    before_ns = time.monotonic_ns()
    process, _ = timed(job, BRIEF)
    usage = process.usage
    assert usage is not None
    assert before_ns < usage.began_ns < usage.ended_ns < time.monotonic_ns()
    assert 0 < usage.cpu_ns < 10**10
    assert usage.major_faults >= 0
    assert usage.involuntary_switches >= 0


def test_the_timed_window_holds_the_calls_and_nothing_else(
    runtime: FakeRuntime, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def in_order(streams: Sequence[Took]) -> Sequence[int]:
        runtime.clock.pass_by(10**9)  # work on what was measured, which has no end with many samples
        return in_time_order(streams)

    monkeypatch.setattr(time, "monotonic_ns", runtime.clock)
    monkeypatch.setattr(timing, "in_time_order", in_order)
    process, _ = timed(job, Timing(warmup_s=0, timed_s=0.25, seed=0))
    assert process.usage is not None
    assert len(process.samples_ns) == 250
    window_ns = process.usage.ended_ns - process.usage.began_ns
    assert 0 < window_ns - sum(process.samples_ns) <= (len(process.samples_ns) + 4) * READING_NS


def test_the_peak_of_the_run_is_taken_before_the_record_of_the_timed_calls_grows(
    runtime: FakeRuntime, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    ends: list[list[bool]] = []

    class Peaks:
        def end_phase(self) -> int:
            ends.append([*told])
            return 1000 * len(ends)

        def overall(self) -> int:
            return self.end_phase()

    monkeypatch.setattr(timing, "Peaks", Peaks)
    process, _ = timed(job, BRIEF, told)
    assert (ends, told) == ([[]] * 4, [True, False])
    found = (process.import_peak_bytes, process.load_peak_bytes, process.run_peak_bytes, process.peak_bytes)
    assert found == (1000, 2000, 3000, 4000)


def test_a_coarse_clock_has_several_calls_timed_together(runtime: FakeRuntime, job: Job) -> None:
    runtime.clock.tick_ns, runtime.clock.reading_ns = 10_000, 1_000
    runtime.call_ns = 49_000
    process, _ = timed(job, Timing(warmup_s=0.01, timed_s=0, seed=0))
    assert process.harness is not None
    assert process.harness.resolution_ns == 10_000
    assert process.calls_per_sample == 20
    assert all(48_500 <= sample <= 49_500 for sample in process.samples_ns)


def test_a_call_that_ends_within_a_tick_is_timed_with_many_others(runtime: FakeRuntime, job: Job) -> None:
    runtime.clock.tick_ns, runtime.clock.reading_ns = 10_000, 500
    runtime.call_ns = 2_000
    process, _ = timed(job, Timing(warmup_s=0.01, timed_s=0, seed=0))
    assert 300 <= process.calls_per_sample <= 500
    assert all(1_950 < sample < 2_050 for sample in process.samples_ns)


@pytest.mark.parametrize("slowdown", [0.03, 0.05])
def test_an_injected_slowdown_makes_every_call_longer_by_its_share(
    runtime: FakeRuntime, job: Job, slowdown: float
) -> None:
    process, logits = timed(job, Timing(warmup_s=0, timed_s=0, seed=3, slowdown=slowdown))
    assert set(process.samples_ns) == {process.first_ns}
    assert process.first_ns == pytest.approx(1_000_000 * (1 + slowdown), abs=4 * READING_NS)
    assert logits.shape == (16, 1, 1)


def test_every_stream_has_a_session_of_its_own(runtime: FakeRuntime, job: Job) -> None:
    process, logits = timed(job, Timing(warmup_s=0, timed_s=0, seed=3, streams=3))
    assert len(runtime.loaded) == 3
    assert process.load_ns == 7_000_000 + READING_NS  # of the first alone
    assert (len(process.warmup_ns), len(process.samples_ns)) == (3 * LEAST_WARMUPS, 3 * LEAST_SAMPLES)
    expected = [answers(prepared(job, index, 1)) for index in rotation(job, 3)]
    assert np.array_equal(logits, np.stack(expected * 3))


def test_an_accelerators_own_times_are_taken_after_the_others(runtime: FakeRuntime, job: Job) -> None:
    runtime.events_ns = 600_000
    process, _ = timed(job, BRIEF)
    assert process.device_ns == (600_000,) * DEVICE_CALLS
    assert (process.gpu_allocated_bytes, process.gpu_reserved_bytes) == (5, 7)


def test_collection_of_garbage_is_off_while_it_is_timed(runtime: FakeRuntime, job: Job) -> None:
    timed(job, BRIEF)
    assert not gc.isenabled()
    assert gc.get_freeze_count() > 0
