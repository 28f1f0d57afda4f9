"""The smallest bundle that a board can measure, for what is not about its answers."""

from pathlib import Path

import numpy as np

import targets
from runner.bundle import FP32_REFERENCE, Bundle
from tests import bundles, networks
from tests.onnx_files import run

ARTIFACT = "fp32.onnx"


def write(folder: Path, *, samples: int = 2, ballast_bytes: int = 0) -> Bundle:
    """Write a bundle with one network; `ballast_bytes` of noise make it longer, as an artifact that nobody runs."""
    images = networks.PREPROCESS.apply(networks.inputs(samples))
    files = {ARTIFACT: networks.write_onnx(folder / ARTIFACT).read_bytes()}
    artifacts = [bundles.artifact()]
    logits = run(files[ARTIFACT], images)
    if ballast_bytes:
        artifacts.append(bundles.artifact("int8"))
        files["int8.onnx"] = np.random.default_rng(0).bytes(ballast_bytes)
    return bundles.write_bundle(
        folder / "net.edgepack",
        files,
        artifacts,
        logits={FP32_REFERENCE: logits, **dict.fromkeys(files, logits)},
        labels=logits.argmax(axis=1),
        target=targets.load("arm-qnnpack"),
    )
