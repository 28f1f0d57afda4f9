"""What the targets of one order share: the networks, and the images that their artifacts are judged on."""

from dataclasses import dataclass
from pathlib import Path

from packager import budget, counting
from packager.branches import Branch, branches
from packager.evaluation import Questions, logits, questions
from packager.journal import Journal
from packager.network import Network, Workbench
from packager.origin import Origin
from runner.device import topology
from runner.packing import Epoch, NetworkFacts, StepRecord
from runner.report import Settings


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Examination:
    """Images for the runner, and what a drop on them is measured against."""

    questions: Questions
    baseline: budget.Baseline


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Prepared:
    """What all targets of one order share."""

    name: str
    bench: Workbench
    trained: Network
    branches: tuple[Branch, ...]
    evaluation: Examination
    validation: Examination | None
    """What a budget is decided on, and what stays in fp32; None where neither is asked for."""
    networks: tuple[NetworkFacts, ...]
    epochs: tuple[Epoch, ...]
    """Of training and pruning."""
    settings: Settings
    shared: tuple[StepRecord, ...]
    """The steps that were run once for all."""

    @property
    def journal(self) -> Journal:
        """Where steps are written down."""
        return self.bench.journal


def prepare(start: Origin, folder: Path) -> Prepared:
    """Prune where the recipe says so, and lay out the images in a folder. Raises StepError."""
    trained, bench = start.trained, start.bench
    plan, journal = bench.recipe, bench.journal
    found = branches(trained, bench)
    with journal.step("reference"):
        examinations = {
            split: _examination(trained, bench, folder / f"{split}.npy", split)
            for split in (("evaluation", "validation") if plan.budget or plan.optimise else ("evaluation",))
        }
    return Prepared(
        name=start.name,
        bench=bench,
        trained=trained,
        branches=found,
        evaluation=examinations["evaluation"],
        validation=examinations.get("validation"),
        networks=_facts(found, bench),
        epochs=_epochs(trained, found),
        settings=Settings(
            effort=plan.measure.effort,
            threads=plan.measure.threads or topology.default_threads(),
            seed=plan.seed,
            minimise=plan.measure.minimise,
        ),
        shared=tuple(journal.records),
    )


def _examination(trained: Network, bench: Workbench, path: Path, split: str) -> Examination:
    splits = bench.splits
    samples = splits.evaluation if split == "evaluation" else splits.validation
    return Examination(
        questions=questions(samples, splits.preprocess, path),
        baseline=budget.Baseline(labels=samples.labels, trained=logits(trained, samples, splits.preprocess)),
    )


def _epochs(trained: Network, found: tuple[Branch, ...]) -> tuple[Epoch, ...]:
    networks = {trained.key: trained} | {branch.context.network.key: branch.context.network for branch in found}
    return tuple(epoch for network in networks.values() for epoch in network.epochs)


def _facts(found: tuple[Branch, ...], bench: Workbench) -> tuple[NetworkFacts, ...]:
    """Count what each network is made of, where more than one shall be compared."""
    networks = {branch.context.network.key: branch.context for branch in reversed(found)}
    if len(networks) < 2:
        return ()
    facts = []
    for context in reversed(networks.values()):
        counts = counting.count(context.network.module, bench.example)
        facts.append(
            NetworkFacts(name=context.name, parameters=counts.parameters, nonzero=counts.nonzero, macs=counts.macs)
        )
    return tuple(facts)
