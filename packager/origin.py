"""What everything else starts from: the data, read once, and the network, trained once."""

from dataclasses import dataclass, replace

from packager import builders, data, layers, model, network, pretrained
from packager.apart import Apart
from packager.cache import Cache
from packager.data import Splits
from packager.journal import Journal
from packager.model import LoadedModel
from packager.network import Network, Workbench
from packager.onnx_model import OnnxModel
from packager.recipe import ONNX_FILE, Recipe, described, ways
from runner import codec
from runner.progress import Progress

UNTOLD_NORMALISATION = (
    "note: images are normalised by mean and standard deviation of the training data;\n"
    "      if the weights were trained with others, name them: --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225"
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Origin:
    """A trained network, and all that is needed to make something else of it."""

    name: str
    """Of the model, fit for file names."""
    trained: Network
    bench: Workbench


def origin(
    plan: Recipe, cache: Cache, progress: Progress, *, searches: bool = False, apart: Apart | None = None
) -> Origin:
    """Read the data, load the model and train it, or find it trained before. Raises UsageError and StepError.

    A search finds its own prunings: that of the recipe is not rehearsed then.
    """
    loaded, bench = opened(plan, cache, progress)
    bench = replace(bench, apart=apart)
    if plan.train is not None and plan.train.epochs:
        _rehearse(loaded, bench, prunes=not searches)
    return Origin(name=loaded.name, trained=network.trained(loaded, bench), bench=bench)


def opened(plan: Recipe, cache: Cache, progress: Progress) -> tuple[LoadedModel, Workbench]:
    """Read the data and load the model. Raises UsageError and StepError."""
    journal = Journal(progress)
    model.check(plan.model)
    journal.say("recipe", "", described(plan))
    with journal.step("data") as step:
        splits = data.load(plan.data, seed=plan.seed, cache=cache.folder, progress=progress)
        step.note = _described(splits)
    with journal.step("model") as step:
        loaded, splits = _loaded(plan, splits, progress)
        step.note = _size(loaded)
        _check_patterns(loaded, plan)
    return loaded, Workbench(splits=splits, recipe=plan, cache=cache, progress=progress, journal=journal)


def _rehearse(loaded: LoadedModel, bench: Workbench, *, prunes: bool) -> None:
    """Do what no bundle can be without, before an hour of training and not after it alone. Raises StepError."""
    with bench.journal.step("rehearse") as step:
        builders.onnx.export(loaded.module, bench)
        prunings = {codec.digest(each.prune): each.prune for each in ways(bench.recipe)} if prunes else {}
        for prune in filter(None, prunings.values()):
            network.rehearse(loaded.module, prune, bench)
        step.note = "export, pruning" if any(prunings.values()) else "export"


def _loaded(plan: Recipe, splits: Splits, progress: Progress) -> tuple[LoadedModel, Splits]:
    """Return the model, and the data as its weights want them."""
    given = plan.model.weights
    if given == pretrained.NAME:
        card = pretrained.find(plan.model.name, splits)
        splits = pretrained.normalised(splits, card, plan.data)
    elif (given or plan.model.name.endswith(ONNX_FILE)) and not (plan.data.mean and plan.data.std):
        progress.say(UNTOLD_NORMALISATION)
    return model.load(plan.model, splits, seed=plan.seed), splits


def _check_patterns(loaded: LoadedModel, plan: Recipe) -> None:
    """Refuse, before an hour of training, patterns that name no layer. Raises StepError."""
    if isinstance(loaded.model, OnnxModel):
        return
    for each in ways(plan):
        if each.prune is not None:
            layers.check(loaded.model, each.prune.keep, "prune.keep")
            layers.check(loaded.model, tuple(each.prune.amounts), "prune.amounts")
        if each.quantize is not None:
            layers.check(loaded.model, each.quantize.keep_fp32, "quantize.keep_fp32")


def _size(loaded: LoadedModel) -> str:
    if isinstance(loaded.model, OnnxModel):
        return f"{loaded.name}, an ONNX file of {len(loaded.model.content):,} bytes: its own weights, no training"
    return f"{loaded.name}, {sum(each.numel() for each in loaded.model.parameters()):,} parameters"


def _described(splits: Splits) -> str:
    shape = splits.preprocess
    parts = (splits.train, splits.validation, splits.evaluation)
    counts = " + ".join(f"{len(part):,}" for part in parts)
    return f"{counts} samples of {shape.channels} x {shape.height} x {shape.width}, {len(splits.classes)} classes"
