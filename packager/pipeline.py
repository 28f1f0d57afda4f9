"""The straight line from a recipe to a bundle."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packager import data, job, making, model, network, onnx_model, pretrained, roads, weights, writer
from packager.cache import Cache
from packager.data import Splits
from packager.job import Job
from packager.journal import Journal
from packager.making import Made
from packager.model import LoadedModel
from packager.network import Workbench
from packager.onnx_model import OnnxModel
from packager.provenance import provenance
from packager.recipe import Recipe, described
from packager.writer import Content
from runner import measure
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, open_bundle
from runner.manifest import LeftOut, Manifest, Target
from runner.packing import Packing
from runner.progress import Progress
from runner.report import Report

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
    save_weights: Path | None = None
    """Where the trained network's weights go as well."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A finished bundle and what was measured of it here."""

    path: Path
    report: Report


def pack(order: Order) -> Iterator[Packed]:
    """Make a bundle for each target, and yield it once it is there; the targets share the data and the training.

    Raises UsageError and StepError.
    """
    plan, progress, journal = order.recipe, order.progress, Journal(order.progress)
    model.check(plan.model)
    if order.save_weights is not None:
        weights.check_destination(order.save_weights)
    journal.say("recipe", "", described(plan))
    with journal.step("data") as step:
        splits = data.load(plan.data, seed=plan.seed, cache=order.cache.folder, progress=progress)
        step.note = _described(splits)
    with journal.step("model") as step:
        loaded, splits = _loaded(plan, splits, progress)
        step.note = _size(loaded)
    bench = Workbench(splits=splits, recipe=plan, cache=order.cache, progress=progress, journal=journal)
    if plan.train is not None and plan.train.epochs:
        # Before an hour of training, not after it.
        with journal.step("trace"):
            roads.onnx_export(loaded.module, bench)
    trained = network.trained(loaded, bench)
    if order.save_weights is not None:
        with journal.step("save weights") as step:
            weights.save(trained.module, order.save_weights)
            step.note = str(order.save_weights)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        shared = job.prepare(loaded.name, trained, bench, Path(folder))
        for target in order.targets:
            yield _pack_for(target, shared, order.output)


def destination(output: Path, name: str, target: Target) -> Path:
    """Return where the bundle of a target goes."""
    return output if output.suffix == writer.SUFFIX else output / f"{name}-{target.name}{writer.SUFFIX}"


def _loaded(plan: Recipe, splits: Splits, progress: Progress) -> tuple[LoadedModel, Splits]:
    """Return the model, and the data as its weights want them."""
    given = plan.model.weights
    if given == pretrained.NAME:
        card = pretrained.find(plan.model.name, splits)
        splits = pretrained.normalised(splits, card, plan.data)
    elif (given or plan.model.name.endswith(onnx_model.SUFFIX)) and not (plan.data.mean and plan.data.std):
        progress.say(UNTOLD_NORMALISATION)
    return model.load(plan.model, splits, seed=plan.seed), splits


def _pack_for(target: Target, shared: Job, output: Path) -> Packed:
    journal = shared.journal
    before = len(journal.records)
    made, left_out = making.make(target, shared)
    damages = making.damages(target, shared)
    path = destination(output, shared.name, target)
    with writer.draft(path) as draft:
        with journal.step(f"{target.name}: write"):
            writer.write(draft, _manifest(target, shared, made, left_out), _contents(shared, made))
        with journal.step(f"{target.name}: measure"):
            packing = Packing(
                epochs=(*shared.epochs, *(epoch for each in made for epoch in each.built.epochs)),
                steps=(*shared.shared, *journal.records[before:]),
                networks=shared.networks,
                sensitivity=damages,
                budgets=tuple(each.record for each in made if each.record),
                left_out=left_out,
            )
            host = measure.Host(packing=packing, answers={each.built.artifact.name: each.given for each in made})
            report = measure.run(open_bundle(draft), shared.settings, host=host, progress=shared.bench.progress)
            if not report.complete:
                raise KeyboardInterrupt
            writer.add_host_report(draft, report)
    return Packed(path=path, report=report)


def _manifest(target: Target, shared: Job, made: tuple[Made, ...], left_out: tuple[LeftOut, ...]) -> Manifest:
    splits = shared.bench.splits
    return Manifest(
        name=f"{shared.name}-{target.name}",
        target=target,
        preprocess=splits.preprocess,
        classes=splits.classes,
        samples=len(splits.evaluation),
        artifacts=tuple(each.built.artifact for each in made),
        left_out=left_out,
        provenance=provenance(shared.bench.recipe, splits.sha256),
        entries=(),
    )


def _contents(shared: Job, made: tuple[Made, ...]) -> tuple[Content, ...]:
    questions = shared.evaluation.questions
    host_logits = {each.built.artifact.name: each.given.logits for each in made}
    answered = {FP32_REFERENCE: shared.branches[0].reference, **host_logits}
    return (
        *(Content(path=each.built.artifact.path, source=each.built.file) for each in made),
        Content(path=INPUTS, source=questions.inputs),
        Content(path=LABELS, source=writer.array_bytes(questions.labels)),
        Content(path=REFERENCE, source=writer.arrays_bytes(answered)),
    )


def _size(loaded: LoadedModel) -> str:
    if isinstance(loaded.model, OnnxModel):
        return f"{loaded.name}, an ONNX file of {len(loaded.model.content):,} bytes: its own weights, no training"
    return f"{loaded.name}, {sum(each.numel() for each in loaded.model.parameters()):,} parameters"


def _described(splits: Splits) -> str:
    shape = splits.preprocess
    parts = (splits.train, splits.validation, splits.evaluation)
    counts = " + ".join(f"{len(part):,}" for part in parts)
    return f"{counts} samples of {shape.channels} x {shape.height} x {shape.width}, {len(splits.classes)} classes"
