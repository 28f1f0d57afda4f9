"""The time of each operator, by the runtime's own profiler, in a process in which nothing else is timed."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from itertools import cycle, islice

from runner.runtimes import Profiling, Session, load_runtime
from runner.worker.loop import Inputs
from runner.worker.order import Order
from runner.worker.samples import prepared, rotation

WARMUPS = 10
LEAST_INFERENCES = 10
MOST_INFERENCES = 100
SECONDS = 1.0
"""How long the profiled inferences may take, unless there would be too few of them."""


def profile_calls(order: Order, seed: int) -> Mapping[str, object]:
    """Profile an artifact on batches of the evaluation set."""
    job = order.job
    runtime = load_runtime(job.format)
    session = runtime.load(job.file, job.options)
    inputs = [prepared(job, index * job.batch, job.batch) for index in rotation(job, seed)]
    count = _inferences(session, inputs[0])
    # Beside the output, in a folder that the parent removes whatever happens here.
    profiling = Profiling(
        inputs=list(islice(cycle(inputs), WARMUPS + count)), warmups=WARMUPS, folder=order.output.parent
    )
    operators = runtime.profile(job.file, job.options, profiling)
    return {
        "provider": session.provider,
        "version": session.version,
        "operators": [asdict(operator) for operator in operators],
    }


def _inferences(session: Session, inputs: Inputs) -> int:
    """Return how many inferences there is time for, by the second one, for the first is cold."""
    session.run(inputs)
    began = time.perf_counter()
    session.run(inputs)
    took = time.perf_counter() - began
    return min(MOST_INFERENCES, max(LEAST_INFERENCES, int(SECONDS / took)))
