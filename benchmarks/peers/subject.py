"""The subject of a comparison: a network with its weights, the samples, fp32's answers to them, and the bundle.

Weights are random, and the statistics of batch norm are those of the samples. A network that has learned nothing is
sure of few of its answers, and rounding would change those that it is not sure of: evaluated is the quarter of the
images with the largest margins, and their labels are what fp32 answers.

    python -m benchmarks.peers.subject FAMILY FOLDER    writes one; in a process of its own, for it takes memory
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import models
from benchmarks.peers.case import BUNDLE, CALIBRATION, INPUTS, NETWORK, PACK_LOG, REFERENCE, WEIGHTS
from packager import weights
from runner.errors import StepError
from runner.manifest import Preprocess

SIDE, CLASSES = 224, 10
SHAPE = (3, SIDE, SIDE)
CALIBRATED, EVALUATED = 64, 64
MORE = 4
"""Times as many images are looked at for those that the network is sure of."""
COARSE = 14
"""The side of an image's pattern, before it is enlarged."""
NOISE = 12.0
STRIDE = 16
DATA = "images.npz"
PREPROCESS = Preprocess(
    channels=3, height=SIDE, width=SIDE, scale=1 / 255, mean=(0.5,) * 3, std=(0.25,) * 3, resize="none"
)
PACK = "import edgepack; edgepack.pack()"
ROOT = Path(__file__).absolute().parent.parent.parent


def images(count: int, seed: int) -> NDArray[np.uint8]:
    """Return images, each a coarse pattern of its own under noise."""
    chance = np.random.default_rng(seed)
    values = np.empty((count, *SHAPE), np.uint8)
    for row in range(count):
        pattern = chance.uniform(16, 240, (3, COARSE, COARSE))
        whole = pattern.repeat(SIDE // COARSE, axis=1).repeat(SIDE // COARSE, axis=2)
        values[row] = np.clip(whole + chance.normal(0, NOISE, SHAPE), 0, 255).astype(np.uint8)
    return values


def make(family: str, folder: Path) -> None:
    """Write the weights, the samples and fp32's answers to them."""
    torch.manual_seed(0)
    train, test = images(CALIBRATED, seed=1), images(MORE * EVALUATED, seed=2)
    module = models.build(models.ANY_TORCHVISION + family, SHAPE[0], CLASSES, SIDE, SIDE).eval()
    calibration = PREPROCESS.apply(train)
    with torch.no_grad():
        settle(module, [torch.from_numpy(part) for part in np.array_split(calibration, CALIBRATED // STRIDE)])
    logits = answers(module, PREPROCESS.apply(test))
    ordered = np.sort(logits, axis=1)
    surest = np.sort(np.argsort(ordered[:, -2] - ordered[:, -1], kind="stable")[:EVALUATED])
    labels = logits[surest].argmax(axis=1)
    weights.save(module, folder / WEIGHTS)
    # The labels of training images say only how many classes there are: nothing is trained.
    named = {"x_train": train, "y_train": np.arange(CALIBRATED) % CLASSES, "x_test": test[surest], "y_test": labels}
    np.savez(folder / DATA, allow_pickle=False, **named)
    write_samples(module, calibration, PREPROCESS.apply(test[surest]), folder)
    write_network(models.ANY_TORCHVISION + family, SHAPE, CLASSES, folder)


def answers(module: nn.Module, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what the module answers, N x classes."""
    parts = np.array_split(inputs, max(1, len(inputs) // STRIDE))
    with torch.inference_mode():
        return np.concatenate([module(torch.from_numpy(part)).numpy() for part in parts])


def write_samples(
    module: nn.Module, calibration: NDArray[np.float32], inputs: NDArray[np.float32], folder: Path
) -> None:
    """Write prepared samples, and what the module answers in fp32."""
    for name, values in ((CALIBRATION, calibration), (INPUTS, inputs), (REFERENCE, answers(module, inputs))):
        np.save(folder / name, values)


def write_network(model: str, shape: tuple[int, int, int], classes: int, folder: Path) -> None:
    """Write what the network is called and takes: the last file, which says that the subject is whole."""
    told = {"model": model, "shape": list(shape), "classes": classes}
    (folder / NETWORK).write_text(json.dumps(told), encoding="utf-8")


def settle(module: nn.Module, batches: list[Tensor]) -> None:
    """Give each batch norm the mean and the variance of what it gets, averaged over the batches."""
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in batches:
        module(batch)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
        norm.eval()


def pack_command(folder: Path, candidates: str | None, *, effort: str = "quick") -> tuple[str, ...]:
    """Return the command that packs a subject as it is."""
    network = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
    given = ("--model", network["model"], "--weights", str(folder / WEIGHTS), "--data", str(folder / DATA))
    scale = ("--mean", "0.5,0.5,0.5", "--std", "0.25,0.25,0.25", "--calibration-samples", str(CALIBRATED))
    chosen = () if candidates is None else ("--candidates", candidates)
    start = (sys.executable, "-c", PACK, "--target", "x86", "--epochs", "0", "--effort", effort)
    return (*start, *given, *scale, *chosen, "-o", str(folder / BUNDLE))


def prepare(family: str, folder: Path, *, candidates: str | None, threads: int) -> None:
    """Make what is missing of a family's subject, and pack it: where that fails, its log says why.

    Raises StepError where the subject itself cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / NETWORK).exists():
        write(family, folder)
    if not (folder / BUNDLE).exists():
        command = (*pack_command(folder, candidates), "--threads", str(threads))
        with (folder / PACK_LOG).open("w", encoding="utf-8") as log:
            subprocess.run(command, check=False, stdout=log, stderr=log)


def write(family: str, folder: Path) -> None:
    """Make a subject in a process of its own. Raises StepError."""
    command = (sys.executable, "-m", "benchmarks.peers.subject", family, str(folder.absolute()))
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise StepError(f"{family} cannot be made: {last[0] if last else done.returncode}", where=str(folder))


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
