"""Writes small real bundles, for tests that open and measure them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packager import writer
from runner.bundle import FP32_REFERENCE, INPUTS, LABELS, REFERENCE, Bundle, open_bundle
from runner.manifest import (
    Artifact,
    Candidate,
    Device,
    Format,
    Machine,
    Manifest,
    Precision,
    Preprocess,
    Provenance,
    Target,
)
from tests import networks

Logits = NDArray[np.float32]

TARGET = Target(
    name="x86",
    description="a target for tests",
    machine="x86_64",
    engine="x86",
    artifacts=(Candidate(precision="fp32", format="onnx"),),
)


def artifact(
    precision: Precision = "fp32",
    form: Format = "onnx",
    *,
    device: Device = "cpu",
    machines: tuple[Machine, ...] = (),
    dynamic_batch: bool = True,
) -> Artifact:
    """Return an artifact named after its precision and format."""
    name = f"{precision}.{form}"
    return Artifact(
        name=name,
        path=f"artifacts/{name}",
        precision=precision,
        format=form,
        device=device,
        machines=machines,
        dynamic_batch=dynamic_batch,
        made_with={},
    )


def write_bundle(
    path: Path,
    files: Mapping[str, bytes],
    artifacts: Sequence[Artifact],
    *,
    logits: Mapping[str, Logits],
    labels: NDArray[np.int64],
    target: Target = TARGET,
    images: Path | None = None,
    preprocess: Preprocess = networks.PREPROCESS,
) -> Bundle:
    """Write and open a bundle of `artifacts`, whose bytes and host logits are given by name, and the reference's.

    Its images are random ones, or those of an .npy file.
    """
    source = images or writer.array_bytes(networks.inputs(len(labels)))
    contents = (
        *(writer.Content(path=item.path, source=files[item.name]) for item in artifacts),
        writer.Content(path=INPUTS, source=source),
        writer.Content(path=LABELS, source=writer.array_bytes(labels)),
        writer.Content(path=REFERENCE, source=writer.arrays_bytes(logits)),
    )
    manifest = Manifest(
        name="net",
        target=target,
        preprocess=preprocess,
        classes=tuple(f"class {index}" for index in range(logits[FP32_REFERENCE].shape[1])),
        samples=len(labels),
        artifacts=tuple(artifacts),
        provenance=Provenance(
            edgepack="0.1.0",
            git_commit=None,
            git_dirty=None,
            python="3.11",
            platform="Linux",
            versions={},
            seed=0,
            data_sha256="0" * 64,
            recipe={},
        ),
        entries=(),
    )
    writer.write(path, manifest, contents)
    return open_bundle(path)
