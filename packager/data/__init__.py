"""From the name of a data set to samples for training, validation, calibration and evaluation.

One source, one file: embedded, torchvision, folder, npz. Each returns a Dataset; `images` brings it to one size, and
`split` divides it.
"""

from collections.abc import Mapping
from pathlib import Path

from packager import recipe
from packager.data import embedded, folder, images, npz, torchvision
from packager.data.dataset import Dataset, Samples, Splits
from packager.data.split import split
from runner.errors import StepError, UsageError, nearest
from runner.progress import Progress

__all__ = ["Samples", "Splits", "load", "names"]

_names = {
    "embedded": "10,000 + 2,000 images of Fashion-MNIST, 1 x 28 x 28, 10 classes; comes with edgepack",
    "mnist": "handwritten digits, 60,000 + 10,000, 1 x 28 x 28, 10 classes; through torchvision",
    "fashion-mnist": "pictures of clothes, 60,000 + 10,000, 1 x 28 x 28, 10 classes; through torchvision",
    "cifar10": "small photographs, 50,000 + 10,000, 3 x 32 x 32, 10 classes; through torchvision",
}


def names() -> Mapping[str, str]:
    """Return each data set that has a name, with a line on it."""
    return _names


def load(data: recipe.Data, *, seed: int, cache: Path, progress: Progress) -> Splits:
    """Read the data, bring the images to one size, and split them. Raises UsageError and StepError."""
    try:
        dataset = images.resized(_read(data, cache, progress), data.image_size, progress)
        return split(dataset, data, seed)
    except OSError as error:
        place = str(error.filename or cache)
        raise StepError(f"cannot be read or written: {error.strerror or error}", where=place) from None


def _read(data: recipe.Data, cache: Path, progress: Progress) -> Dataset:
    if data.source == "embedded":
        return embedded.read()
    if data.source in torchvision.DATASETS:
        place = Path(data.data_dir).expanduser() if data.data_dir else cache / "datasets"
        return torchvision.read(data.source, place, progress)
    path = Path(data.source).expanduser()
    if path.suffix == ".npz":
        return npz.read(path)
    if path.is_dir():
        return folder.read(path, data.image_size, cache, progress)
    if path.exists():
        raise UsageError("is neither a folder nor an .npz file", where=data.source)
    hint = nearest(data.source, _names) or f"use a folder, an .npz file, or one of {', '.join(_names)}"
    raise UsageError("there is no data set, folder or .npz file of this name", where=data.source, advice=hint)
