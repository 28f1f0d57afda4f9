"""What every trial starts from: the data, read once, and the network, trained once."""

from dataclasses import dataclass

from packager import data, model, network, pretrained, roads
from packager.cache import Cache
from packager.journal import Journal
from packager.network import Network, Workbench
from packager.onnx_model import OnnxModel
from packager.recipe import Recipe
from runner.progress import Progress


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Origin:
    """A trained network, and all that is needed to make something else of it."""

    name: str
    """Of the model, fit for file names."""
    trained: Network
    bench: Workbench


def origin(plan: Recipe, cache: Cache, progress: Progress) -> Origin:
    """Read the data, load the model and train it, or find it trained before. Raises UsageError and StepError."""
    journal = Journal(progress)
    model.check(plan.model)
    with journal.step("data") as step:
        splits = data.load(plan.data, seed=plan.seed, cache=cache.folder, progress=progress)
        step.note = f"{len(splits.validation):,} images to choose by"
    with journal.step("model") as step:
        if plan.model.weights == pretrained.NAME:
            splits = pretrained.normalised(splits, pretrained.find(plan.model.name, splits), plan.data)
        loaded = model.load(plan.model, splits, seed=plan.seed)
        step.note = loaded.name
    bench = Workbench(splits=splits, recipe=plan, cache=cache, progress=progress, journal=journal)
    if plan.train is not None and plan.train.epochs and not isinstance(loaded.model, OnnxModel):
        with journal.step("trace"):
            roads.onnx_export(loaded.module, bench)
    return Origin(name=loaded.name, trained=network.trained(loaded, bench), bench=bench)
