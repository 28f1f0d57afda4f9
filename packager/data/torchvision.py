"""MNIST, Fashion-MNIST and CIFAR-10, read and downloaded by torchvision."""

import contextlib
import sys
from pathlib import Path

import numpy as np

from packager.data.dataset import Dataset, Samples
from runner.errors import StepError
from runner.images import UNTOUCHED
from runner.progress import Progress

DATASETS = {
    "mnist": ("MNIST", "MNIST/raw", "the four idx-ubyte files, unpacked,"),
    "fashion-mnist": ("FashionMNIST", "FashionMNIST/raw", "the four idx-ubyte files, unpacked,"),
    "cifar10": ("CIFAR10", "cifar-10-batches-py", "the files of cifar-10-python.tar.gz, unpacked,"),
}


def read(name: str, folder: Path, progress: Progress) -> Dataset:
    """Read a data set that lies below `folder`, or download it to there. Raises StepError.

    torchvision unpickles CIFAR-10's files, but only after it has compared them with digests of its own.
    """
    train, classes = _part(name, folder, progress, train=True)
    test, _ = _part(name, folder, progress, train=False)
    return Dataset(source=name, train=train, test=test, classes=classes, resize=UNTOUCHED)


def _part(name: str, folder: Path, progress: Progress, *, train: bool) -> tuple[Samples, tuple[str, ...]]:
    from torchvision import datasets  # noqa: PLC0415 - seconds, and only these three data sets need it

    kind, below, files = DATASETS[name]
    progress.say(f"{name}: looking in {folder}")
    try:
        # torchvision tells of its downloads on stdout, which is for the result alone.
        with contextlib.redirect_stdout(sys.stderr):
            found = getattr(datasets, kind)(folder, train=train, download=True)
    except (OSError, RuntimeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise StepError(
            f"is neither in {folder} nor could it be downloaded: {lines[-1]}",
            where=name,
            advice=f"put {files} into {folder / below}, or name the folder that has {below} in it with --data-dir",
        ) from None
    images = np.asarray(found.data)
    # CIFAR-10 comes as N x H x W x C, the others as N x H x W.
    inputs = images[:, None] if images.ndim == 3 else np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return Samples.whole(inputs, np.asarray(found.targets, np.int64)), tuple(found.classes)
