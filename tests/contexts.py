"""What artifacts are made from, about a network that a test brings along."""

from pathlib import Path

from torch import nn

from packager import recipe
from packager.builders import BuildContext
from packager.cache import Cache
from packager.data import Splits
from packager.journal import Journal
from packager.network import Network, Workbench
from packager.onnx_model import OnnxModel
from packager.recipe import Recipe
from runner.progress import Progress, Silent

QUANTIZE = recipe.Quantize()


def bench(splits: Splits, folder: Path, plan: Recipe | None = None, progress: Progress | None = None) -> Workbench:
    """Return a workbench with a cache in a folder, and an empty journal."""
    shown = progress or Silent()
    return Workbench(
        splits=splits, recipe=plan or Recipe(), cache=Cache(folder=folder), progress=shown, journal=Journal(shown)
    )


def context(
    model: nn.Module | OnnxModel,
    work: Workbench,
    quantize: recipe.Quantize | None = QUANTIZE,
    *,
    name: str = "",
    key: str = "",
) -> BuildContext:
    """Return a context for a network, which its class stands for in the cache where no key is given."""
    network = Network(model=model, key=key or type(model).__name__)
    return BuildContext(name=name, network=network, teacher=network, quantize=quantize, bench=work)
