"""Hold an artifact's answers on this machine against its own on the host, before anybody relies on them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from runner.arrays import ArrayLocation
from runner.bundle import INPUTS, REFERENCE, Bundle
from runner.errors import BundleError, MeasurementError
from runner.logits import answers, logits_problem, snr_db
from runner.manifest import Artifact, Precision
from runner.runtimes import Session

SAMPLES = 8
MOST_FLIPS = 1
"""Of so many. A run of the runner holds no artifact that flips more than one sample in a hundred: two of eight would
then come once in 400 loads."""
LEAST_SNR_DB: Mapping[Precision, float] = MappingProxyType(
    {"fp32": 40.0, "fp16": 25.0, "bf16": 20.0, "int8": 15.0, "int8-weights": 15.0, "int4-weights": 15.0}
)
"""Of the same file on two machines. Other kernels of fp32 are 100 dB apart, a step of int8 here and there 25 and more;
products that saturate, or the kernels of another engine, come below 10."""


def hold(bundle: Bundle, artifact: Artifact, session: Session) -> None:
    """Raise MeasurementError where an artifact answers otherwise than on the host, and BundleError without samples."""
    inputs, rows, host = _some(bundle, artifact)
    prepare = bundle.manifest.preprocess.ready()
    # One by one, whatever it takes: a runtime may compile a network for each number of samples, and keep it.
    logits = np.concatenate([session.run(prepare(inputs.row(row))) for row in rows])
    problem = logits_problem(logits, len(host), host.shape[1])
    if problem:
        raise MeasurementError(problem.detail, advice=problem.advice)
    flips = int((answers(logits) != answers(host)).sum())
    found = snr_db(logits, host)
    least = LEAST_SNR_DB[artifact.precision]
    if flips > MOST_FLIPS or (found is not None and found < least):
        figures = "" if found is None else f", signal to noise {found:.1f} dB where {least:.0f} are expected"
        raise MeasurementError(
            f"answers {flips} of {len(host)} samples otherwise than on the host{figures}",
            advice=f"bench-runner {bundle.path}, which tells more, or pack it for this machine",
        )


def _some(bundle: Bundle, artifact: Artifact) -> tuple[ArrayLocation, Sequence[int], NDArray[np.float32]]:
    """Return where the evaluation samples lie, which few of them are taken, and the host's logits for those."""
    prepare, count, classes = (bundle.manifest.preprocess, bundle.manifest.samples, len(bundle.manifest.classes))
    inputs, logits = bundle.locate(INPUTS), bundle.reference_places().get(artifact.name)
    if inputs.shape != (count, prepare.channels, prepare.height, prepare.width):
        raise BundleError(f"{INPUTS}: has the shape {inputs.shape}", where=str(bundle.path), advice="pack it again")
    if logits is None or logits.shape != (count, classes):
        what = f"{REFERENCE}: {artifact.name}: has the shape {logits.shape if logits else ()}, not {(count, classes)}"
        raise BundleError(what, where=str(bundle.path), advice="pack it again")
    chosen: list[int] = np.linspace(0, count - 1, min(SAMPLES, count)).astype(np.int64).tolist()
    return inputs, chosen, np.concatenate([logits.row(row) for row in chosen]).astype(np.float32)
