"""The straight line from a recipe to a bundle."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import nn

from packager import artifacts, data, model, writer
from packager.artifacts import Built, Workshop
from packager.cache import Cache
from packager.check import check
from packager.data import Samples, Splits
from packager.journal import Journal
from packager.network import Network, Workbench, prepare
from packager.provenance import provenance
from packager.recipe import Recipe, described
from packager.train import logits
from packager.writer import Content
from runner import device, measure
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, open_bundle
from runner.errors import MeasurementError, RuntimeUnavailable, StepError
from runner.manifest import Manifest, Target
from runner.measure.answers import Answers, Subject, answers
from runner.progress import Progress
from runner.report import Packing, Report, Settings, StepRecord
from runner.worker import ArrayLocation

CHUNK = 256
UNTOLD_NORMALISATION = (
    "note: images are normalised by mean and standard deviation of the training data;\n"
    "      if the weights were trained with others, name them: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What is to be packed, and where to."""

    recipe: Recipe
    targets: tuple[Target, ...]
    output: Path
    """A folder, or the bundle's own path where there is one target."""
    cache: Cache
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A finished bundle and what was measured of it here."""

    path: Path
    report: Report


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The evaluation set as it goes into the bundle, and what the fp32 model answers to it."""

    inputs: Path
    labels: NDArray[np.int64]
    reference: NDArray[np.float32]

    def locate(self) -> ArrayLocation:
        """Return where the inputs lie, for the runner."""
        array = np.load(self.inputs, mmap_mode="r", allow_pickle=False)
        return ArrayLocation(path=self.inputs, offset=array.offset, shape=array.shape, dtype=array.dtype.str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all targets of one order share."""

    order: Order
    name: str
    splits: Splits
    network: Network
    evaluation: Evaluation
    settings: Settings
    journal: Journal
    shared: tuple[StepRecord, ...]
    """The steps that were run once for all."""


def pack(order: Order) -> Iterator[Packed]:
    """Make a bundle for each target, and yield it once it is there; the targets share the data and the training.

    Raises UsageError and StepError.
    """
    recipe, progress, journal = order.recipe, order.progress, Journal(order.progress)
    model.check(recipe.model)
    journal.say("recipe", "", described(recipe))
    with journal.step("data") as step:
        splits = data.load(recipe.data, seed=recipe.seed, cache=order.cache.folder, progress=progress)
        step.note = _described(splits)
    with journal.step("model") as step:
        loaded = model.load(recipe.model, splits.preprocess, classes=len(splits.classes), seed=recipe.seed)
        if recipe.model.weights and not (recipe.data.mean and recipe.data.std):
            progress.say(UNTOLD_NORMALISATION)
        step.note = f"{loaded.name}, {sum(p.numel() for p in loaded.module.parameters()):,} parameters"
    if recipe.train is not None and recipe.train.epochs:
        # Before an hour of training, not after it.
        with journal.step("trace"):
            _trace(loaded.module, splits, recipe)
    bench = Workbench(splits=splits, recipe=recipe, cache=order.cache, progress=progress, journal=journal)
    network = prepare(loaded, bench)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        with journal.step("reference"):
            evaluation = _evaluation(network, splits, Path(folder))
        job = Job(
            order=order,
            name=loaded.name,
            splits=splits,
            network=network,
            evaluation=evaluation,
            settings=Settings(
                effort=recipe.measure.effort, threads=recipe.measure.threads or device.facts().cpus, seed=recipe.seed
            ),
            journal=journal,
            shared=tuple(journal.records),
        )
        for target in order.targets:
            yield _pack_for(target, job)


def destination(order: Order, name: str, target: Target) -> Path:
    """Return where the bundle of a target goes."""
    if order.output.suffix == writer.SUFFIX:
        return order.output
    return order.output / f"{name}-{target.name}{writer.SUFFIX}"


def _pack_for(target: Target, job: Job) -> Packed:
    before = len(job.journal.records)
    built = _build(target, job)
    given = {each.artifact.name: _checked(each, target, job) for each in built}
    path = destination(job.order, job.name, target)
    with writer.draft(path) as draft:
        with job.journal.step(f"{target.name}: write"):
            writer.write(draft, _manifest(target, job, built), _contents(job, built, given))
        with job.journal.step(f"{target.name}: measure"):
            steps = (*job.shared, *job.journal.records[before:])
            packing = Packing(epochs=job.network.epochs, steps=steps)
            host = measure.Host(packing=packing, answers=given)
            report = measure.run(open_bundle(draft), job.settings, host=host, progress=job.order.progress)
            if not report.complete:
                raise KeyboardInterrupt
            writer.add_host_report(draft, report)
    return Packed(path=path, report=report)


def _build(target: Target, job: Job) -> tuple[Built, ...]:
    recipe, built = job.order.recipe, []
    workshop = Workshop(
        module=job.network.module,
        key=job.network.key,
        splits=job.splits,
        quantize=recipe.quantize,
        export=recipe.export,
        cache=job.order.cache,
        progress=job.order.progress,
    )
    for candidate in target.artifacts:
        if candidate.precision == "int8" and recipe.quantize is None:
            continue
        with job.journal.step(f"{target.name}: {candidate.name}") as step:
            built.append(artifacts.build(candidate, workshop, target))
            step.cached = built[-1].cached
            step.note = f"{built[-1].file.stat().st_size:,} bytes"
    return tuple(built)


def _checked(built: Built, target: Target, job: Job) -> Answers:
    """Let the runner execute an artifact, and hold its answers against the fp32 model's. Raises StepError."""
    artifact, evaluation, progress = built.artifact, job.evaluation, job.order.progress
    stand_in = artifact.device == "cuda" and not device.facts().cuda
    subject = Subject(artifact=artifact, file=built.file, target=target, stand_in=stand_in)
    with job.journal.step(f"{target.name}: check {artifact.name}") as step:
        with progress.task(f"{artifact.name}: answers", len(evaluation.labels)) as advance:
            try:
                given = answers(subject, evaluation.locate(), job.splits.preprocess, job.settings, advance)
            except (MeasurementError, RuntimeUnavailable) as error:
                what = f"{artifact.name} cannot be run: {error.what}"
                raise StepError(what, advice=error.advice or "a target without this artifact") from error
        found = check(artifact.name, artifact.precision, given.logits, evaluation.reference, evaluation.labels)
        step.note = f"signal to noise {found.snr_db:.1f} dB, same answer on {found.agreement:.2%}"
    return given


def _trace(module: nn.Module, splits: Splits, recipe: Recipe) -> None:
    """See that the network, untrained, can be exported at all. Raises StepError with the layer."""
    from packager.export import onnx  # noqa: PLC0415 - heavy

    example = splits.preprocess.apply(splits.calibration.take(slice(0, 1)))
    onnx.export(module, torch.from_numpy(example), recipe.export.opset)


def _evaluation(network: Network, splits: Splits, folder: Path) -> Evaluation:
    path = folder / "inputs.npy"
    _save(splits.evaluation, path)
    reference = logits(network.module, splits.evaluation, splits.preprocess).numpy()
    return Evaluation(inputs=path, labels=splits.evaluation.labels, reference=reference)


def _save(samples: Samples, path: Path) -> None:
    """Write the samples as one array, a chunk at a time: they may be more than memory holds."""
    base = samples.base
    descr, shape = npy.dtype_to_descr(base.dtype), (len(samples), *base.shape[1:])
    # Written, not mapped: a full disk is then an error, where a mapping would end the process.
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for start in range(0, len(samples), CHUNK):
            file.write(samples.take(slice(start, start + CHUNK)).tobytes())


def _manifest(target: Target, job: Job, built: tuple[Built, ...]) -> Manifest:
    return Manifest(
        name=f"{job.name}-{target.name}",
        target=target,
        preprocess=job.splits.preprocess,
        classes=job.splits.classes,
        samples=len(job.evaluation.labels),
        artifacts=tuple(each.artifact for each in built),
        provenance=provenance(job.order.recipe, job.splits.sha256),
        entries=(),
    )


def _contents(job: Job, built: tuple[Built, ...], given: dict[str, Answers]) -> tuple[Content, ...]:
    evaluation = job.evaluation
    host_logits = {name: answered.logits for name, answered in given.items()}
    return (
        *(Content(path=each.artifact.path, source=each.file) for each in built),
        Content(path=INPUTS, source=evaluation.inputs),
        Content(path=LABELS, source=writer.array_bytes(evaluation.labels)),
        Content(path=REFERENCE, source=writer.arrays_bytes({FP32_REFERENCE: evaluation.reference, **host_logits})),
    )


def _described(splits: Splits) -> str:
    shape = splits.preprocess
    parts = (splits.train, splits.validation, splits.evaluation)
    counts = " + ".join(f"{len(part):,}" for part in parts)
    return f"{counts} samples of {shape.channels} x {shape.height} x {shape.width}, {len(splits.classes)} classes"
