"""Every file that a small network becomes, for every target, as digests: what two processes must agree on.

As a program, `python -m tests.every_file OUT.json`, it makes them in a process of its own.
"""

import hashlib
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import targets
from packager import artifacts, recipe
from packager.data import Samples, Splits
from runner.manifest import Preprocess
from tests import contexts, modules


def splits() -> Splits:
    """Return seeded random images."""
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 28, 28), dtype=np.uint8)
    samples = Samples.whole(images, np.arange(40) % 4)
    preprocess = Preprocess(channels=1, height=28, width=28, scale=1 / 255, mean=(0.5,), std=(0.25,), resize="none")
    return Splits(
        train=samples,
        validation=samples,
        calibration=samples,
        evaluation=samples,
        classes=("a", "b", "c", "d"),
        preprocess=preprocess,
        sha256="0" * 64,
    )


def every_file(folder: Path) -> dict[str, str]:
    """Return the digest of each file, by target, method and artifact; `folder` is for the cache."""
    data = splits()
    torch.manual_seed(0)
    images = torch.from_numpy(data.preprocess.apply(data.calibration.array()))
    context = contexts.context(modules.settled(modules.Residual(), images), contexts.bench(data, folder))
    methods: tuple[recipe.QuantizeMethod, ...] = ("static", "dynamic")
    digests = {}
    for method in methods:
        chosen = replace(context, quantize=recipe.Quantize(method=method))
        for target in map(targets.load, targets.names()):
            for candidate in target.artifacts:
                content = artifacts.build(candidate, chosen, target).file.read_bytes()
                digests[f"{target.name} {method} {candidate.name}"] = hashlib.sha256(content).hexdigest()
    return digests


def main() -> None:
    """Write the digests to the file that is named."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        Path(sys.argv[1]).write_text(json.dumps(every_file(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()
