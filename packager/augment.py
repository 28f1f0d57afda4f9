"""Random shifts and mirror images of a batch of stored samples."""

import numpy as np
from numpy.typing import NDArray

from packager.recipe import Augment


def augment(batch: NDArray[np.generic], kind: Augment, random: np.random.Generator) -> NDArray[np.generic]:
    """Return a batch, N x C x H x W, in which each sample is moved and mirrored by its own draw."""
    if kind in ("shift", "shift-flip"):
        batch = _shifted(batch, random)
    if kind in ("flip", "shift-flip"):
        mirrored = random.random(len(batch)) < 0.5
        batch = np.where(mirrored[:, None, None, None], batch[..., ::-1], batch)
    return batch


def _shifted(batch: NDArray[np.generic], random: np.random.Generator) -> NDArray[np.generic]:
    """Return the samples moved by up to an eighth of their size; what comes in from outside is zero."""
    count, channels, height, width = batch.shape
    reach = np.array([height // 8, width // 8])
    padded = np.zeros((count, channels, height + 2 * reach[0], width + 2 * reach[1]), batch.dtype)
    padded[:, :, reach[0] : reach[0] + height, reach[1] : reach[1] + width] = batch
    tops, lefts = random.integers(0, 2 * reach[:, None] + 1, (2, count))
    moved = np.empty_like(batch)
    for sample, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        moved[sample] = padded[sample, :, top : top + height, left : left + width]
    return moved
