"""From a model to the network that is packed: trained, pruned, or as it came."""

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from packager import recipe
from packager.cache import Cache, Found
from packager.data import Splits
from packager.journal import Journal
from packager.model import LoadedModel
from packager.prune import TECHNIQUES
from packager.train import Job, train
from runner import codec
from runner.progress import Progress
from runner.report import Epoch

WEIGHTS, EPOCHS, CHECKPOINT = "weights.safetensors", "epochs.json", "checkpoint.pt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """A network with its weights, and how it came to them."""

    module: nn.Module
    key: str
    """What stands for it, weights included, in the cache."""
    epochs: tuple[Epoch, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Workbench:
    """What the steps that change a network have in common."""

    splits: Splits
    recipe: recipe.Recipe
    cache: Cache
    progress: Progress
    journal: Journal


def prepare(loaded: LoadedModel, bench: Workbench) -> Network:
    """Take the network through the steps that the recipe names."""
    network = Network(module=loaded.module, key=loaded.sha256)
    plan = bench.recipe
    if plan.train is not None and plan.train.epochs:
        network = _trained(network, plan.train, bench)
    if plan.prune is not None:
        network = _pruned(network, plan.prune, bench)
    return network


def _trained(network: Network, plan: recipe.Train, bench: Workbench) -> Network:
    job = Job(plan=plan, splits=bench.splits, seed=bench.recipe.seed)
    with bench.journal.step("train") as step:
        network, step.cached = _run(network, job, bench)
        step.note = _best(network.epochs)
    return network


def _pruned(network: Network, plan: recipe.Prune, bench: Workbench) -> Network:
    """Set weights to zero, and train on with those at zero."""
    base = bench.recipe.train or recipe.Train()
    tuning = replace(base, epochs=plan.fine_tune_epochs, learning_rate=plan.fine_tune_learning_rate)
    with bench.journal.step("prune") as step:
        masks = TECHNIQUES[plan.method](network.module, plan)
        job = Job(plan=tuning, splits=bench.splits, seed=bench.recipe.seed, stage="prune", masks=masks)
        before = network.epochs
        network, step.cached = _run(_masked(network, plan, job), job, bench)
        step.note = f"{plan.amount:.0%} of the weights are zero; {_best(network.epochs)}"
    return replace(network, epochs=(*before, *network.epochs))


def _masked(network: Network, plan: recipe.Prune, job: Job) -> Network:
    module = copy.deepcopy(network.module)
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    for name, mask in job.masks.items():
        parameters[name].data.mul_(mask)
    key = codec.digest([network.key, codec.unstructure(plan)])
    return Network(module=module, key=key)


def _run(network: Network, job: Job, bench: Workbench) -> tuple[Network, bool]:
    """Return the network after a training, and whether that was found in the cache."""

    def make(folder: Path) -> None:
        trained = train(network.module, replace(job, checkpoint=folder / CHECKPOINT), bench.progress)
        save_model(trained.module, str(folder / WEIGHTS))
        (folder / EPOCHS).write_text(json.dumps(codec.unstructure(trained.epochs)), encoding="utf-8")
        (folder / CHECKPOINT).unlink(missing_ok=True)

    found = bench.cache.made(job.stage, _inputs(network, job), make)
    return _load(network.module, found), found.cached


def _inputs(network: Network, job: Job) -> dict[str, object]:
    return {
        "network": network.key,
        "plan": codec.unstructure(job.plan),
        "data": job.splits.sha256,
        "seed": job.seed,
    }


def _load(module: nn.Module, found: Found) -> Network:
    module = copy.deepcopy(module)
    load_model(module, str(found.folder / WEIGHTS))
    epochs = codec.read_json(tuple[Epoch, ...], (found.folder / EPOCHS).read_bytes())
    return Network(module=module.eval(), key=found.key, epochs=epochs)


def _best(epochs: tuple[Epoch, ...]) -> str:
    if not epochs:
        return "no fine-tuning"
    best = max(epochs, key=lambda epoch: epoch.validation_accuracy)
    return f"validation top-1 {best.validation_accuracy:.2%} after epoch {best.epoch} of {len(epochs)}"
