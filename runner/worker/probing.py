"""What lies between the layers of an artifact, for one sample: by a file that was made from it and returns that too."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from runner.runtimes import load_runtime
from runner.worker.order import Order, Probing
from runner.worker.samples import prepared


def probe(order: Order, probing: Probing) -> Mapping[str, object]:
    """Write what the artifact itself and its probe return, as they would be run for answers."""
    job = order.job
    runtime = load_runtime(job.format)
    inputs = prepared(job, probing.sample, 1)
    # One after the other, and each is let go: a board may have no room for both.
    options = replace(job.options, as_stored=True)
    logits = runtime.load(job.file, options).run(inputs)
    session = runtime.load(probing.file, options)
    found = session.tensors(inputs)
    with order.output.open("wb") as file:
        np.savez_compressed(file, logits, *found)
    return {"provider": session.provider, "version": session.version}
