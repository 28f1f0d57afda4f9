"""From a model to the networks that are packed: trained, pruned, or as it came."""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from packager.apart import Apart
from packager.cache import Cache, Found
from packager.data import Splits
from packager.distillation import Teacher
from packager.journal import Journal
from packager.model import LoadedModel
from packager.onnx_model import OnnxModel
from packager.prune import Evidence, Pruned, Stage
from packager.prune.schedule import stages
from packager.prune.techniques import technique
from packager.quantize.calibration import STRIDE
from packager.recipe import Augment, Prune, Recipe, Train
from packager.train import Job, train
from runner import codec
from runner.packing import Epoch
from runner.progress import Progress

WEIGHTS, EPOCHS, CHECKPOINT = "weights.safetensors", "epochs.json", "checkpoint.pt"


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Network:
    """A network with its weights, and how it came to them."""

    model: nn.Module | OnnxModel
    key: str
    """What stands for it, weights included, in the cache."""
    epochs: tuple[Epoch, ...] = ()
    masks: Mapping[str, Tensor] = field(default_factory=dict)
    """Parameter name -> 0 and 1: weights that were pruned, and stay zero whatever is trained after."""

    @property
    def module(self) -> nn.Module:
        """The network as PyTorch has it. Raises StepError where it exists only as an ONNX file."""
        if isinstance(self.model, OnnxModel):
            raise self.model.no_module()
        return self.model


@dataclass(frozen=True, kw_only=True, slots=True)
class Workbench:
    """What the steps that change a network have in common."""

    splits: Splits
    recipe: Recipe
    cache: Cache
    progress: Progress
    journal: Journal
    apart: Apart | None = None
    """Builds artifacts in a process of its own; None is: they are built in this one."""

    @property
    def example(self) -> Tensor:
        """One calibration sample as the network sees it."""
        return torch.from_numpy(self.splits.preprocess.apply(self.splits.calibration.take(slice(0, 1))))

    def tuning(self, *, epochs: int, learning_rate: float, share: float, augment: Augment | None = None) -> Train:
        """Return the recipe's plan of training, for so much more of it."""
        plan = self.recipe.train or Train()
        usual = plan.augment
        return replace(plan, epochs=epochs, learning_rate=learning_rate, share=share, augment=augment or usual)


def trained(loaded: LoadedModel, bench: Workbench) -> Network:
    """Return the model, trained if the recipe says so."""
    network = Network(model=loaded.model, key=loaded.sha256)
    plan = bench.recipe.train
    if plan is None or not plan.epochs:
        return network
    job = Job(plan=plan, splits=bench.splits, seed=bench.recipe.seed)
    with bench.journal.step("train") as step:
        network, step.cached = run(network, job, bench)
        step.note = best(network.epochs)
    return network


def pruned(network: Network, plan: Prune, bench: Workbench) -> Network:
    """Return what a plan leaves of a trained network, after the fine-tuning that follows each of its stages."""
    teacher = Teacher(module=network.module, weight=plan.distil) if plan.distil else None
    prune, steps, epochs, evidence = technique(plan.method), stages(plan), list[Epoch](), _evidence(bench)
    with bench.journal.step("prune") as step:
        step.cached = True
        for number, stage in enumerate(steps):
            left = prune(network.module, plan, stage, evidence)
            tuning = bench.tuning(
                epochs=_epochs(plan.fine_tune_epochs, number, len(steps)),
                learning_rate=plan.fine_tune_learning_rate,
                share=plan.fine_tune_share,
                augment=plan.fine_tune_augment,
            )
            job = Job(
                plan=tuning,
                splits=bench.splits,
                seed=bench.recipe.seed,
                stage="prune",
                masks=left.masks,
                teacher=teacher,
            )
            network, cached = run(_keyed(network, left, plan, number), job, bench)
            epochs += network.epochs
            step.cached &= cached
        step.note = f"{plan.method} {plan.amount:.0%}; {best(network.epochs)}"
    return replace(network, epochs=tuple(epochs), masks=left.masks)


def rehearse(module: nn.Module, plan: Prune, bench: Workbench) -> None:
    """Prune an untrained network, and forget it: what cannot be pruned so is told before an hour of training.

    Raises StepError.
    """
    few = replace(_evidence(bench), batches=lambda: itertools.islice(_labelled(bench.splits), 1))
    technique(plan.method)(module, plan, Stage(before=0.0, amount=plan.amount), few)


def run(network: Network, job: Job, bench: Workbench) -> tuple[Network, bool]:
    """Return the network after a training, and whether that was found in the cache."""

    def make(folder: Path) -> None:
        after = train(network.module, replace(job, checkpoint=folder / CHECKPOINT), bench.progress)
        save_model(after.module, str(folder / WEIGHTS))
        (folder / EPOCHS).write_text(json.dumps(codec.unstructure(after.epochs)), encoding="utf-8")
        (folder / CHECKPOINT).unlink(missing_ok=True)

    found = bench.cache.made(job.stage, _inputs(network, job), make)
    return _load(network.module, found), found.cached


def best(epochs: tuple[Epoch, ...]) -> str:
    """Return how a training went, in a few words."""
    if not epochs:
        return "no fine-tuning"
    top = max(epochs, key=lambda epoch: epoch.validation_accuracy)
    return f"validation top-1 {top.validation_accuracy:.2%} after epoch {top.epoch} of {len(epochs)}"


def _evidence(bench: Workbench) -> Evidence:
    return Evidence(example=bench.example, batches=lambda: _labelled(bench.splits), seed=bench.recipe.seed)


def _epochs(epochs: int, number: int, steps: int) -> int:
    """Return how many of the epochs follow a step: equally many, and the rest after the last."""
    return epochs // steps + (epochs % steps if number == steps - 1 else 0)


def _keyed(network: Network, left: Pruned, plan: Prune, number: int) -> Network:
    key = codec.digest([network.key, codec.unstructure(plan), number])
    return Network(model=left.module, key=key)


def _labelled(splits: Splits) -> Iterator[tuple[Tensor, Tensor]]:
    samples = splits.calibration
    for first in range(0, len(samples), STRIDE):
        chosen = slice(first, first + STRIDE)
        prepared = splits.preprocess.apply(samples.take(chosen))
        yield torch.from_numpy(prepared), torch.from_numpy(samples.labels[chosen])


def _inputs(network: Network, job: Job) -> dict[str, object]:
    return {
        "network": network.key,
        "plan": codec.unstructure(job.plan),
        "data": job.splits.sha256,
        "seed": job.seed,
        "distil": job.teacher.weight if job.teacher else 0,
    }


def _load(module: nn.Module, found: Found) -> Network:
    module = copy.deepcopy(module)
    load_model(module, str(found.folder / WEIGHTS))
    epochs = codec.read_json(tuple[Epoch, ...], (found.folder / EPOCHS).read_bytes())
    return Network(model=module.eval(), key=found.key, epochs=epochs)
