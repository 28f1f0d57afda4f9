"""Images and what the network in fp32 answers to them, laid out for the runner, which judges every artifact."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from packager import onnx_model, train
from packager.data import Samples
from packager.network import Network
from packager.onnx_model import OnnxModel
from runner.arrays import ArrayLocation
from runner.manifest import Preprocess

CHUNK = 256

Labels = NDArray[np.int64]
Logits = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Questions:
    """Images in a file of their own, with their labels."""

    inputs: Path
    labels: Labels
    preprocess: Preprocess

    def locate(self) -> ArrayLocation:
        """Return where the inputs lie, for the runner."""
        array = np.load(self.inputs, mmap_mode="r", allow_pickle=False)
        return ArrayLocation(path=self.inputs, offset=array.offset, shape=array.shape, dtype=array.dtype.str)


def questions(samples: Samples, preprocess: Preprocess, path: Path) -> Questions:
    """Write the samples as one array, a chunk at a time: they may be more than memory holds."""
    base = samples.base
    descr, shape = npy.dtype_to_descr(base.dtype), (len(samples), *base.shape[1:])
    # Written, not mapped: a full disk is then an error, where a mapping would end the process.
    with path.open("wb") as file:
        npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        for start in range(0, len(samples), CHUNK):
            file.write(samples.take(slice(start, start + CHUNK)).tobytes())
    return Questions(inputs=path, labels=samples.labels, preprocess=preprocess)


def logits(network: Network, samples: Samples, preprocess: Preprocess) -> Logits:
    """Return what a network answers in fp32: N x classes."""
    if isinstance(network.model, OnnxModel):
        return onnx_model.logits(network.model, samples, preprocess)
    return train.logits(network.model, samples, preprocess).numpy()
