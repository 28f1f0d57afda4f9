"""The samples of the evaluation set as a runtime takes them: prepared, in batches, never all of them at once."""

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from runner.worker.order import Job

MOST_ROTATED = 16
MOST_ROTATED_BYTES = 32 << 20
CHUNK_BYTES = 1 << 20

Inputs = NDArray[np.float32]


def batches(job: Job) -> Iterator[Inputs]:
    """Yield the prepared samples, batch by batch; what is held at once does not grow with their number."""
    total = job.inputs.shape[0]
    sample_bytes = 4 * int(np.prod(job.inputs.shape[1:]))
    chunk = job.batch * max(1, CHUNK_BYTES // (sample_bytes * job.batch))
    for start in range(0, total, chunk):
        found = prepared(job, start, chunk)
        for offset in range(0, len(found), job.batch):
            yield found[offset : offset + job.batch]


def rotation(job: Job, seed: int) -> list[int]:
    """Return which whole batches of the evaluation set are timed, in turn: a seeded choice, as many as memory bears."""
    whole = job.inputs.shape[0] // job.batch
    batch_bytes = 4 * job.batch * int(np.prod(job.inputs.shape[1:]))
    count = min(whole, MOST_ROTATED, max(1, MOST_ROTATED_BYTES // batch_bytes))
    return random.Random(seed).sample(range(whole), count)  # noqa: S311 - a choice of samples, no secret


def prepared(job: Job, start: int, count: int) -> Inputs:
    """Return `count` samples from `start` on, scaled and normalised."""
    # Mapped anew each time: pages of an old map would stay resident.
    return job.preprocess.apply(job.inputs.open()[start : start + count])
