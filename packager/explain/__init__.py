"""Which layer of an artifact is the first that a device computes otherwise than the host, and what becomes of it."""

from pathlib import Path

import numpy as np

from packager.explain.divergence import Divergence, LayerDifference, first_divergence, worst_sample
from packager.explain.page import divergence_page, sentence
from packager.explain.probe import Layer, Made, Probe
from runner.bundle import INPUTS, Bundle
from runner.errors import StepError
from runner.manifest import Format
from runner.measure import tensors
from runner.measure.session import chosen
from runner.measure.tensors import Tensors
from runner.worker.order import Probing

__all__ = [
    "Divergence",
    "Layer",
    "LayerDifference",
    "Probe",
    "Tensors",
    "divergence_page",
    "first_divergence",
    "host_tensors",
    "probe",
    "sentence",
    "worst_sample",
]

NAMED = "fp32.onnx"
"""Whose weights have the names of the network's layers."""
PROBED: tuple[Format, ...] = ("onnx", "torchscript")


def probe(source: Bundle, name: str, sample: int, folder: Path) -> Probe:
    """Write a probe of an artifact into a folder, checked on a sample. Raises UsageError, BundleError and StepError."""
    (artifact,) = chosen(source.manifest, [name])
    path = folder / f"probe-{Path(artifact.path).name}"
    made = _made(source, name, sample)
    path.write_bytes(made.content)
    return Probe(artifact=name, precision=artifact.precision, path=path, layers=made.layers)


def host_tensors(source: Bundle, probe: Probe, sample: int, threads: int = 1) -> Tensors:
    """Run an artifact and its probe here, as for answers. Raises RuntimeUnavailable and MeasurementError."""
    probing = Probing(file=probe.path, sample=sample)
    return tensors.read(tensors.take(source, probe.artifact, probing, threads, on_host=True), probe.artifact)


def _made(source: Bundle, name: str, sample: int) -> Made:
    manifest = source.manifest
    (artifact,) = chosen(manifest, [name])
    content = source.read(artifact.path)
    if artifact.format not in PROBED:
        what = f"{artifact.format} artifacts cannot be looked into layer by layer"
        raise StepError(what, where=artifact.name, advice=f"an artifact in {' or '.join(PROBED)}")
    if artifact.format == "torchscript":
        from packager.explain import probe_torchscript  # noqa: PLC0415 - heavy

        return probe_torchscript.make(content, artifact.engine)
    from packager.explain import probe_onnx  # noqa: PLC0415 - heavy

    like = manifest.artifact(NAMED)
    inputs = manifest.preprocess.apply(np.asarray(source.locate(INPUTS).open()[sample : sample + 1]))
    question = probe_onnx.Question(inputs=inputs, exact_int8=manifest.target.machine == "aarch64")
    return probe_onnx.make(content, question, source.read(like.path) if like else None)
