"""Make the embedded data set from Fashion-MNIST's four IDX files.

python -m packager.data.make_embedded FOLDER -o packager/data/fashion_mnist_12k.npz
"""

import gzip
import io
import zipfile
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from packager.data.dataset import Indices

SEED = 0
FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
EPOCH = (1980, 1, 1, 0, 0, 0)


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True)
@click.option("--train-per-class", type=int, default=1000, show_default=True)
@click.option("--test-per-class", type=int, default=200, show_default=True)
def main(folder: Path, output: Path, train_per_class: int, test_per_class: int) -> None:
    """Write a fixed, class-balanced subset of the IDX files in FOLDER. Equal files give equal bytes."""
    generator = np.random.default_rng(SEED)
    arrays: dict[str, NDArray[np.uint8]] = {}
    for part, count in (("train", train_per_class), ("test", test_per_class)):
        images, labels = (read_idx(folder / name) for name in FILES[part])
        chosen = _choose(labels, count, generator)
        arrays |= {f"x_{part}": images[chosen], f"y_{part}": labels[chosen]}
    _write(output, arrays)


def read_idx(path: Path) -> NDArray[np.uint8]:
    """Read a gzipped IDX file of bytes: two zeros, type 8, the number of axes, their lengths as big-endian int32."""
    data = gzip.decompress(path.read_bytes())
    axes = data[3]
    shape = np.frombuffer(data, ">i4", count=axes, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)


def _choose(labels: NDArray[np.uint8], per_class: int, generator: np.random.Generator) -> Indices:
    """Return `per_class` rows of each class, in the order of the file."""
    chosen = [
        generator.choice(np.flatnonzero(labels == label), per_class, replace=False) for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def _write(path: Path, arrays: dict[str, NDArray[np.uint8]]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            archive.writestr(entry, content.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)


if __name__ == "__main__":
    main()
