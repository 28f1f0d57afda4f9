"""A folder of images: `train/CLASS/*` with `test/CLASS/*` or `val/CLASS/*`, or `CLASS/*` alone.

Images are decoded once. What comes out is kept in the cache as one array, which is memory-mapped from then on:

    CACHE/images/<digest of the files' names, sizes and times, and of the size asked for>/images.npy   N x C x H x W
                                                                                          resize.txt   in words
"""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packager.data import images
from packager.data.dataset import Dataset, Samples
from runner.errors import StepError, UsageError
from runner.images import Size
from runner.progress import Progress

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
PARTS = ("train", "training", "test", "testing", "val", "valid", "validation", "eval", "evaluation", "dev")
"""What people call the parts of a split."""
BATCH = 256

Mapped = np.memmap[tuple[int, ...], np.dtype[np.generic]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The images of the training part, or of the test part."""

    files: tuple[Path, ...]
    labels: tuple[int, ...]
    classes: tuple[str, ...]


def read(root: Path, side: int | None, cache: Path, progress: Progress) -> Dataset:
    """Read a folder of images, decoded to `side` x `side` or what suits them. Raises UsageError, StepError."""
    train_folder, test_folder = _layout(root, progress)
    train = _list(train_folder, progress)
    test = _list(test_folder, progress) if test_folder else None
    if test is not None and train.classes != test.classes:
        odd = sorted(set(train.classes) ^ set(test.classes))
        holder = train_folder if odd[0] in train.classes else test_folder
        raise StepError(f"train and test have different classes: {odd[0]!r} is in {holder} only", where=str(root))
    files = train.files + (test.files if test else ())
    decoded = cache / "images" / _digest(root, files, side)
    if not decoded.is_dir():
        _decode_all(files, side, decoded, progress)
    base = _open(decoded / "images.npy", len(files))
    border = len(train.files)
    return Dataset(
        source=str(root),
        train=_samples(base[:border], train),
        test=_samples(base[border:], test) if test else None,
        classes=train.classes,
        resize=(decoded / "resize.txt").read_text(encoding="utf-8"),
    )


def _samples(base: NDArray[np.generic], part: Part) -> Samples:
    return Samples.whole(base, np.asarray(part.labels, np.int64))


def _layout(root: Path, progress: Progress) -> tuple[Path, Path | None]:
    """Return the folders that hold the classes of the training and of the test part."""
    train, test, validation = root / "train", root / "test", root / "val"
    if train.is_dir() and test.is_dir():
        if validation.is_dir():
            progress.say(f"{validation}: not used, for {test} is there and validation is held out of {train}")
        return train, test
    if train.is_dir() and validation.is_dir():
        return train, validation
    folders = _folders(root)
    if folders == [train]:
        return train, None
    _refuse_half_a_split(root, folders)
    return root, None


def _refuse_half_a_split(root: Path, folders: Sequence[Path]) -> None:
    """Refuse to take parts of a split for classes: a network would learn to tell training images from others."""
    parts = [path for path in folders if path.name.lower() in PARTS and _folders(path)]
    if parts:
        what = f"has class folders in {', '.join(path.name for path in parts)}, but not both train and test or val"
        raise UsageError(what, where=str(root), advice="rename them: train/CLASS/* with test/CLASS/* or val/CLASS/*")


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _list(folder: Path, progress: Progress) -> Part:
    """List the images of each class. Raises UsageError and StepError."""
    classes = _folders(folder)
    if len(classes) < 2:
        what = f"has {len(classes)} class folders; a classifier needs at least 2"
        raise UsageError(what, where=str(folder), advice="arrange the images as train/CLASS/* and test/CLASS/*")
    files: list[Path] = []
    labels: list[int] = []
    for label, class_folder in enumerate(classes):
        found = sorted(_walk(class_folder))
        pictures = [path for path in found if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
        if not pictures:
            raise StepError("this class folder has no images", where=str(class_folder), advice="fill or remove it")
        if others := sorted(set(found) - set(pictures)):
            progress.say(
                f"{class_folder}: passed over {len(others)} files that are no images, such as {others[0].name}"
            )
        files += pictures
        labels += [label] * len(pictures)
    return Part(files=tuple(files), labels=tuple(labels), classes=tuple(path.name for path in classes))


def _walk(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(parent, name) for name in names)


def _raise(error: OSError) -> None:
    raise error


def _digest(root: Path, files: Sequence[Path], side: int | None) -> str:
    digest = hashlib.sha256(f"{root.resolve()}\0{side}\0".encode())
    for path in files:
        facts = path.stat()
        digest.update(
            f"{path.relative_to(root)}\0{facts.st_size}\0{facts.st_mtime_ns}\0".encode("utf-8", "surrogateescape")
        )
    return digest.hexdigest()[:32]


def _decode_all(files: Sequence[Path], side: int | None, destination: Path, progress: Progress) -> None:
    """Decode every image into `destination`, which is complete once it is there."""
    with progress.task("reading image sizes", len(files)) as advance:
        sizes, grayscale = set(), True
        for path in files:
            size, gray = images.peek(path)
            sizes.add(size)
            grayscale &= gray
            advance()
    size = images.choose_size(sizes, side)
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".part-") as scratch:
        part = Path(scratch, "part")
        part.mkdir()
        (part / "resize.txt").write_text(images.describe(sizes, size), encoding="utf-8")
        _write_array(part / "images.npy", files, size, 1 if grayscale else 3, progress)
        _move(part, destination)


def _write_array(path: Path, files: Sequence[Path], size: Size, channels: int, progress: Progress) -> None:
    # Written, not mapped: a full disk is then an error, where a mapping would end the process.
    header = {"descr": "|u1", "fortran_order": False, "shape": (len(files), channels, *size)}
    remaining = iter(files)
    with (
        path.open("wb") as file,
        ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool,
        progress.task("decoding images", len(files)) as advance,
    ):
        np.lib.format.write_array_header_1_0(file, header)
        while batch := list(islice(remaining, BATCH)):
            for pixels in pool.map(lambda source: images.decode(source, size, channels), batch):
                file.write(pixels.tobytes())
            advance(len(batch))
        file.flush()
        os.fsync(file.fileno())


def _move(part: Path, destination: Path) -> None:
    try:
        part.rename(destination)
    except OSError:
        if not destination.is_dir():
            raise
        shutil.rmtree(part)  # another process was faster, with the same result


def _open(path: Path, count: int) -> Mapped:
    try:
        array: Mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StepError(f"the cache is damaged: {error}", where=str(path), advice=f"delete {path.parent}") from None
    if len(array) != count:
        raise StepError("the cache is damaged: it lacks images", where=str(path), advice=f"delete {path.parent}")
    return array
