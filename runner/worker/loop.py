"""The timed loop, what it costs by itself, and how it is run by several threads at once."""

import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from runner.process import Harness

Inputs = NDArray[np.float32]
Logits = NDArray[np.float32]
Run = Callable[[Inputs], Logits]

MOST_NS = 60_000_000_000
"""A phase ends after a minute, also with fewer inferences than it should have."""
CLOCK_STEPS = 20
EMPTY_CALLS = 1000
LEAST_OVER_HARNESS = 100
"""A call that is not so many times as long as the harness's own share of it is timed together with others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """For how long to go on, and what counts as one sample."""

    seconds: float
    least: int
    """Samples, however long they take."""
    calls: int = 1
    """Of each sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Took:
    """The samples of a phase, in the order in which they ended, and the last answer to each input that was reached."""

    samples_ns: Sequence[int]
    outputs: list[Logits]


def measure_harness() -> Harness:
    """Measure the clock, and the loop around a call that does nothing."""
    nothing = np.zeros(1, np.float32)
    took = time_loop(lambda inputs: inputs, [nothing], Phase(seconds=0.0, least=EMPTY_CALLS))
    return Harness(
        resolution_ns=min(_step_ns() for _ in range(CLOCK_STEPS)), overhead_ns=float(np.median(took.samples_ns))
    )


def _step_ns() -> int:
    """Read the clock until it has moved, however long that takes, and return by how much."""
    clock = time.perf_counter_ns
    began = now = clock()
    while now == began:
        now = clock()
    return now - began


def calls_per_sample(warm_ns: Sequence[int], harness: Harness) -> int:
    """Return how many calls are timed together, so that the harness and the clock are 1 % of a sample at most."""
    # Where most calls end before the clock ticks, the median is 0, and only the mean tells how long they are.
    middle = float(np.median(warm_ns))
    typical = max(1.0, middle if middle > harness.resolution_ns else float(np.mean(warm_ns)))
    floor = LEAST_OVER_HARNESS * max(harness.overhead_ns, harness.resolution_ns)
    return max(1, -(-int(floor) // int(typical)))


def time_loop(run: Run, inputs: Sequence[Inputs], phase: Phase) -> Took:
    """Take the time of every sample of a phase. One of several calls is their mean."""
    clock = time.perf_counter_ns
    # Eight bytes each: a list's integers take five times as much, which would be told as the artifact's memory.
    samples = array("q")
    outputs: dict[int, Logits] = {}
    count, calls = len(inputs), phase.calls
    index = 0
    start = clock()
    end = start + round(phase.seconds * 1e9)
    last = max(end, start + MOST_NS)
    while True:
        batch = inputs[index]
        began = clock()
        output = run(batch)
        for _ in range(calls - 1):
            run(batch)
        ended = clock()
        samples.append((ended - began) // calls)
        outputs[index] = output
        index = (index + 1) % count
        if ended >= end and (len(samples) >= phase.least or ended >= last):
            return Took(samples_ns=samples, outputs=[outputs[index] for index in range(len(outputs))])


def time_streams(runs: Sequence[Run], inputs: Sequence[Inputs], phase: Phase) -> list[Took]:
    """Run the loop in as many threads as there are `runs`, all at once, and return what each took."""
    if len(runs) == 1:
        return [time_loop(runs[0], inputs, phase)]
    found: list[Took | BaseException | None] = [None] * len(runs)
    barrier = threading.Barrier(len(runs))

    def stream(place: int) -> None:
        barrier.wait()
        try:
            found[place] = time_loop(runs[place], inputs, phase)
        except BaseException as error:  # noqa: BLE001 - raised again below, where somebody hears it
            found[place] = error

    threads = [threading.Thread(target=stream, args=(place,)) for place in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = [each for each in found if isinstance(each, Took)]
    if len(done) < len(found):
        raise next(each for each in found if isinstance(each, BaseException))
    return done


def in_time_order(streams: Sequence[Took]) -> Sequence[int]:
    """Return the samples of loops that began together in the order in which they ended."""
    if len(streams) == 1:
        return streams[0].samples_ns
    ended = [pair for each in streams for pair in zip(accumulate(each.samples_ns), each.samples_ns, strict=True)]
    return array("q", (sample for _, sample in sorted(ended)))


def slowed(run: Run, share: float) -> Run:
    """Return a call that takes `share` longer than it does: it spins until that much more of its own time is over."""
    if not share:
        return run
    clock = time.perf_counter_ns

    def longer(inputs: Inputs) -> Logits:
        began = clock()
        logits = run(inputs)
        until = began + round((clock() - began) * (1 + share))
        while clock() < until:
            pass
        return logits

    return longer
