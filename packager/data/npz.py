"""An .npz file with x_train, y_train, x_test and y_test, and the names of the classes if the file has `classes`."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packager.data.dataset import Dataset, Samples
from packager.recipe import SMALLEST_SIDE
from runner.errors import StepError, UsageError, nearest
from runner.images import UNTOUCHED

KEYS = ("x_train", "y_train", "x_test", "y_test")
CHUNK = 4096

Arrays = dict[str, NDArray[np.generic]]


def read(path: Path) -> Dataset:
    """Read images as N x H x W, N x H x W x C or N x C x H x W, uint8 or float. Raises UsageError, StepError."""
    arrays = _read_arrays(path)
    classes = _class_names(arrays, path)
    parts = []
    for part in ("train", "test"):
        inputs = _images(arrays, f"x_{part}", path)
        labels = _labels(arrays, f"y_{part}", len(classes), path)
        if len(inputs) != len(labels):
            raise StepError(
                f"x_{part} has {len(inputs)} images, but y_{part} has {len(labels)} labels", where=str(path)
            )
        parts.append(Samples.whole(inputs, labels))
    train, test = parts
    if train.base.shape[1:] != test.base.shape[1:] or train.base.dtype != test.base.dtype:
        kinds = " and ".join(f"{_lengths(part.base.shape[1:])} of {part.base.dtype}" for part in parts)
        raise StepError(f"x_train and x_test differ: their images are {kinds}", where=str(path))
    return Dataset(source=str(path), train=train, test=test, classes=classes, resize=UNTOUCHED)


def _read_arrays(path: Path) -> Arrays:
    try:
        with path.open("rb") as stream:
            return _pick(np.load(stream, allow_pickle=False), path)
    except FileNotFoundError:
        raise UsageError("there is no such file", where=str(path)) from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            what = "holds Python objects, which could run code when they are read, or is no .npz file at all"
            raise StepError(what, where=str(path), advice="save plain arrays of numbers with numpy.savez") from None
        raise StepError(f"is damaged or no .npz file: {error}", where=str(path)) from None


def _pick(file: object, path: Path) -> Arrays:
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise StepError("is a single array, not an .npz file", where=str(path))
    if missing := [key for key in KEYS if key not in file.files]:
        hint = nearest(missing[0], set(file.files) - set(KEYS))
        what = f"has no {', '.join(missing)}; it has {', '.join(file.files) or 'nothing'}"
        raise StepError(what, where=str(path), advice=hint or f"save the arrays as {', '.join(KEYS)}")
    return {key: file[key] for key in (*KEYS, "classes") if key in file.files}


def _class_names(arrays: Arrays, path: Path) -> tuple[str, ...]:
    if "classes" in arrays:
        names = tuple(str(name) for name in np.atleast_1d(arrays["classes"]))
    else:
        # A class that no training image has cannot be learned, so the training labels tell how many there are.
        labels = _integers(arrays, "y_train", path)
        names = tuple(str(label) for label in range(min(int(labels.max()) + 1, len(labels)))) if len(labels) else ()
    if len(names) < 2:
        raise StepError(f"has {len(names)} class; a classifier needs at least 2", where=str(path))
    return names


def _labels(arrays: Arrays, key: str, classes: int, path: Path) -> NDArray[np.int64]:
    labels = _integers(arrays, key, path)
    outside = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(outside):
        what = f"{key}[{outside[0]}] is {labels[outside[0]]}: labels must be 0 to {classes - 1}"
        raise StepError(what, where=str(path), advice="number the classes of y_train from 0 without gaps")
    if key == "y_train" and (absent := set(range(classes)) - set(labels.tolist())):
        raise StepError(f"no image of y_train has the label {min(absent)}", where=str(path))
    return labels


def _integers(arrays: Arrays, key: str, path: Path) -> NDArray[np.int64]:
    labels = arrays[key]
    if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras ships CIFAR-10
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        what = f"{key} has {_kind(labels)}; expected one integer per image"
        raise StepError(what, where=str(path), advice="use labels.argmax(1) of one-hot labels")
    return labels.astype(np.int64)


def _images(arrays: Arrays, key: str, path: Path) -> NDArray[np.generic]:
    """Return the images as N x C x H x W, uint8 or float32."""
    images = arrays[key]
    if images.ndim == 3:
        images = images[:, None]
    if images.ndim != 4 or not (images.dtype == np.uint8 or np.issubdtype(images.dtype, np.floating)):
        what = f"{key} has {_kind(arrays[key])}; expected images as N x H x W, N x H x W x C or N x C x H x W"
        raise StepError(what, where=str(path), advice="store uint8 from 0 to 255, or float")
    if 0 in images.shape:
        raise StepError(f"{key} is empty: it has {_kind(images)}", where=str(path))
    # The axis of the channels is told by its length, for sides are longer.
    channels_last = images.shape[3] < SMALLEST_SIDE
    if channels_last == (images.shape[1] < SMALLEST_SIDE):
        what = f"{key} has {_kind(images)}: which axis holds the channels cannot be told"
        advice = f"store fewer than {SMALLEST_SIDE} channels and at least {SMALLEST_SIDE} x {SMALLEST_SIDE} pixels"
        raise StepError(what, where=str(path), advice=advice)
    if channels_last:
        images = images.transpose(0, 3, 1, 2)
    if images.dtype == np.uint8:
        return images
    images = images.astype(np.float32, copy=False)
    _refuse_nan(images, key, path)
    return images


def _refuse_nan(images: NDArray[np.generic], key: str, path: Path) -> None:
    for start in range(0, len(images), CHUNK):
        bad = np.flatnonzero(~np.isfinite(images[start : start + CHUNK]).all(axis=(1, 2, 3)))
        if len(bad):
            what = f"{key}[{start + bad[0]}] holds NaN or infinite values"
            raise StepError(what, where=str(path), advice="repair or remove such images")


def _kind(array: NDArray[np.generic]) -> str:
    return f"the shape {_lengths(array.shape) or '()'} of {array.dtype}"


def _lengths(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
