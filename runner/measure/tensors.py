"""What lies between the layers of an artifact for one sample, to be held against what another machine finds there."""

import io
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner import device, install
from runner.bundle import INPUTS, Bundle
from runner.device.obstacle import obstacle
from runner.errors import MeasurementError, RuntimeUnavailable, UsageError
from runner.measure.answers import Subject, make_job
from runner.measure.session import chosen
from runner.report import Scenario
from runner.worker.order import Probing
from runner.workers import Subprocesses

Array = NDArray[np.generic]
KEY = "arr_{}"
"""What numpy calls the arrays of an .npz that have no names."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Tensors:
    """What one machine found for one sample."""

    logits: Array
    """Of the artifact itself."""
    probed: tuple[Array, ...]
    """Of its probe, in the order of its outputs: the logits first."""


def take(source: Bundle, name: str, probing: Probing, threads: int, *, on_host: bool = False) -> bytes:
    """Run an artifact and its probe on one sample, as for answers, and return the .npz that `read` reads.

    On the host a CPU stands in for a GPU.
    Raises UsageError, BundleError, RuntimeUnavailable, and MeasurementError where the runtime dies of it.
    """
    manifest = source.manifest
    (artifact,) = chosen(manifest, [name])
    if not 0 <= probing.sample < manifest.samples:
        raise UsageError(f"sample: expected 0 to {manifest.samples - 1}, got {probing.sample}", where=manifest.name)
    if not probing.file.is_file():
        raise UsageError("there is no such file", where=str(probing.file))
    facts = device.facts()
    reason = obstacle(artifact, facts, install.here(cuda=bool(facts.cuda)), stand_in=on_host)
    if reason:
        raise RuntimeUnavailable(reason.detail, where=name, advice=reason.advice)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        subject = Subject(
            artifact=artifact,
            file=source.extract(artifact.path, Path(folder)),
            target=manifest.target,
            stand_in=on_host and artifact.device == "cuda" and not facts.cuda,
        )
        job = make_job(subject, source.locate(INPUTS), manifest.preprocess, Scenario(threads=threads))
        return Subprocesses().probe(job, Probing(file=probing.file.absolute(), sample=probing.sample))


def read(content: bytes, where: str) -> Tensors:
    """Read what `take` has returned; `where` names it in errors. Raises MeasurementError."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            first, *others = (arrays[KEY.format(index)] for index in range(len(arrays.files)))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        what = f"is no file of tensors: {error}"
        raise MeasurementError(what, where=where, advice="run `bench-runner tensors` again") from None
    return Tensors(logits=first, probed=tuple(others))
