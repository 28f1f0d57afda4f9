"""The straight line from a recipe to a bundle."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packager import choosing, making, prepared, weights, writer
from packager.apart import Apart
from packager.cache import Cache
from packager.making import Made
from packager.optimise import search as optimising
from packager.origin import origin
from packager.prepared import Prepared
from packager.provenance import provenance
from packager.recipe import Recipe
from packager.writer import Content
from runner import measure
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, open_bundle
from runner.manifest import LeftOut, Manifest, Target
from runner.packing import BudgetRecord, Packing
from runner.progress import Progress
from runner.report import Report


@dataclass(frozen=True, kw_only=True, slots=True)
class PackOrder:
    """What is to be packed, and where to."""

    recipe: Recipe
    targets: tuple[Target, ...]
    output: Path
    """A folder, or the bundle's own path where there is one target."""
    cache: Cache
    progress: Progress
    save_weights: Path | None = None
    """Where the trained network's weights go as well."""
    apart: Apart | None = None
    """Builds the artifacts in a process of its own; None is: they are built in this one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A finished bundle and what was measured of it here."""

    path: Path
    report: Report


def pack(order: PackOrder) -> Iterator[Packed]:
    """Make a bundle for each target, and yield it once it is there; the targets share the data and the training.

    Raises UsageError and StepError.
    """
    if order.save_weights is not None:
        weights.check_destination(order.save_weights)
    start = origin(order.recipe, order.cache, order.progress, apart=order.apart)
    if order.save_weights is not None:
        with start.bench.journal.step("save weights") as step:
            weights.save(start.trained.module, order.save_weights)
            step.note = str(order.save_weights)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder:
        shared = prepared.prepare(start, Path(folder))
        for target in order.targets:
            yield _pack_for(target, shared, order.output)


def destination(output: Path, name: str, target: Target) -> Path:
    """Return where the bundle of a target goes."""
    return output if output.suffix == writer.SUFFIX else output / f"{name}-{target.name}{writer.SUFFIX}"


def _pack_for(target: Target, shared: Prepared, output: Path) -> Packed:
    journal = shared.journal
    before = len(journal.records)
    if shared.bench.apart is not None:
        shared.bench.apart.rest()
    searched = optimising.search(target, shared)
    shared = searched.shared
    candidates, unmade = making.make(target, shared)
    left_out = (*unmade, *searched.left_out)
    choice = choosing.choose(target, shared, candidates, left_out)
    made = choice.made
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
                budgets=_budgets(choice.made, candidates),
                optimised=searched.records,
                left_out=left_out,
                contenders=choice.contenders,
            )
            host = measure.Host(packing=packing, answers={each.built.artifact.name: each.given for each in made})
            report = measure.run(open_bundle(draft), shared.settings, host=host, progress=shared.bench.progress)
            if not report.complete:
                raise KeyboardInterrupt
            writer.add_host_report(draft, report)
    return Packed(path=path, report=report)


def _budgets(kept: tuple[Made, ...], made: tuple[Made, ...]) -> tuple[BudgetRecord, ...]:
    """Return how artifacts came to hold the budget: where none is kept that has one, those that held it, or all."""
    whole = [each.record for each in made if each.record]
    held = [each for each in whole if each.holds]
    return tuple(each.record for each in kept if each.record) or tuple(held or whole)


def _manifest(target: Target, shared: Prepared, made: tuple[Made, ...], left_out: tuple[LeftOut, ...]) -> Manifest:
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


def _contents(shared: Prepared, made: tuple[Made, ...]) -> tuple[Content, ...]:
    questions = shared.evaluation.questions
    host_logits = {each.built.artifact.name: each.given.logits for each in made}
    answered = {FP32_REFERENCE: shared.branches[0].reference, **host_logits}
    return (
        *(Content(path=each.built.artifact.path, source=each.built.file) for each in made),
        Content(path=INPUTS, source=questions.inputs),
        Content(path=LABELS, source=writer.array_bytes(questions.labels)),
        Content(path=REFERENCE, source=writer.arrays_bytes(answered)),
    )
