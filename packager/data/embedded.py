"""The data set that comes with edgepack: a class-balanced subset of Fashion-MNIST."""

from importlib import resources

import numpy as np

from packager.data.dataset import Dataset, Samples
from runner.images import UNTOUCHED

FILE = "fashion_mnist_12k.npz"
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read() -> Dataset:
    """Read the 10,000 training and 2,000 test images, 1 x 28 x 28."""
    with resources.files(__package__).joinpath(FILE).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        train, test = (
            Samples.whole(arrays[f"x_{part}"][:, None], arrays[f"y_{part}"].astype(np.int64))
            for part in ("train", "test")
        )
    return Dataset(source="embedded", train=train, test=test, classes=CLASSES, resize=UNTOUCHED)
