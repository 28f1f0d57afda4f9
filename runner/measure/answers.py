"""What an artifact says to every sample of the evaluation set, also while it is not in a bundle yet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runner.arrays import ArrayLocation
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, Bundle
from runner.device import topology
from runner.errors import BundleError
from runner.manifest import Artifact, Preprocess, Target
from runner.options import make_options
from runner.progress import Advance
from runner.report import RuntimeFacts, Scenario
from runner.worker.order import Job
from runner.workers import WORKERS, Workers

Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """An artifact that lies in a file of its own, ready to run."""

    artifact: Artifact
    file: Path
    target: Target
    stand_in: bool = False
    """Run it on the CPU, for want of the device that it is made for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """The logits of one artifact for every sample, N x classes, and what computed them."""

    logits: Logits
    runtime: RuntimeFacts


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The evaluation set, and what the host made of it."""

    inputs: ArrayLocation
    preprocess: Preprocess
    labels: NDArray[np.int64]
    classes: int
    reference: Logits
    """Of the fp32 model on the host."""
    host: Mapping[str, Logits]
    """Of each artifact on the host."""

    @property
    def samples(self) -> int:
        """How many samples there are."""
        return len(self.labels)


def answers(
    subject: Subject,
    inputs: ArrayLocation,
    preprocess: Preprocess,
    scenario: Scenario,
    advance: Advance = lambda *_, **__: None,
    workers: Workers = WORKERS,
) -> Answers:
    """Run an artifact on every sample, in a fresh process. Raises RuntimeUnavailable and MeasurementError."""
    job = make_job(subject, inputs, preprocess, scenario)
    answered = workers.answer(job, advance)
    placement = answered.placement
    runtime = RuntimeFacts(
        name=subject.artifact.format,
        version=answered.version,
        provider=answered.provider,
        device=job.options.device,
        engine=job.options.engine,
        threads=job.options.threads,
        nodes=placement.nodes if placement else None,
        cpu_nodes=placement.elsewhere if placement else (),
    )
    return Answers(logits=answered.logits, runtime=runtime)


def make_job(subject: Subject, inputs: ArrayLocation, preprocess: Preprocess, scenario: Scenario) -> Job:
    """Return what a worker is told of an artifact: the same for its answers and for its time."""
    artifact = subject.artifact
    options = make_options(artifact, subject.target, scenario.threads, stand_in=subject.stand_in)
    return Job(
        file=subject.file.absolute(),
        format=artifact.format,
        # Several sessions would each put their threads on the same cores.
        options=replace(options, affinity=()) if scenario.streams > 1 else options,
        inputs=inputs,
        preprocess=preprocess,
        batch=scenario.batch if artifact.dynamic_batch else 1,
        cpus=topology.pinning(scenario.threads * scenario.streams),
    )


def load_evaluation(source: Bundle, names: Sequence[str]) -> Evaluation:
    """Read a bundle's evaluation set, and the host's logits for the artifacts `names`. Raises BundleError."""
    manifest = source.manifest
    prepare, count, classes = manifest.preprocess, manifest.samples, len(manifest.classes)
    inputs, labels, logits = source.locate(INPUTS), source.labels(), source.reference()
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
        INPUTS: (inputs.shape, (count, prepare.channels, prepare.height, prepare.width)),
        LABELS: (labels.shape, (count,)),
    }
    for name in (FP32_REFERENCE, *names):
        shapes[f"{REFERENCE}: {name}"] = (logits[name].shape if name in logits else (), (count, classes))
    problems = [
        f"{name}: has the shape {found}, not {expected}"
        for name, (found, expected) in shapes.items()
        if found != expected
    ]
    if not problems and not (count and classes > 1 and labels.min() >= 0 and labels.max() < classes):
        problems.append(f"{LABELS}: {count} labels of {classes} classes, and some are of none of them")
    problems += [f"{REFERENCE}: {name}: not finite" for name, found in logits.items() if not np.isfinite(found).all()]
    if problems:
        raise BundleError("; ".join(problems), where=str(source.path), advice="pack it again")
    return Evaluation(
        inputs=inputs, preprocess=prepare, labels=labels, classes=classes, reference=logits[FP32_REFERENCE], host=logits
    )
