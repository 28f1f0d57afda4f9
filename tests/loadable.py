"""Writes small bundles that can be loaded and used, with host reports that say what a test wants."""

import functools
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from packager import writer
from runner import report
from runner.bundle import FP32_REFERENCE, Bundle, open_bundle
from runner.facts import DeviceFacts
from runner.manifest import Artifact, Format, Target
from runner.report import Report
from tests import bundles, networks, reports

SAMPLES = 40
FP32, INT8 = bundles.artifact(), bundles.artifact("int8", "torchscript")
LOGITS = networks.expected_logits(networks.inputs(SAMPLES)).astype(np.float32)
"""Of every artifact here, for all are the same network."""


@functools.cache
def network(form: Format) -> bytes:
    """Return the small network as a file of a format."""
    writers = {"onnx": networks.write_onnx, "torchscript": networks.write_torchscript}
    with tempfile.TemporaryDirectory() as folder:
        return writers[form](Path(folder, "net")).read_bytes()


def write(
    folder: Path,
    artifacts: Sequence[Artifact] = (FP32, INT8),
    *,
    host: Mapping[str, NDArray[np.float32]] | None = None,
    target: Target = bundles.TARGET,
) -> Bundle:
    """Write a bundle of the small network in each artifact's format; `host` are answers that the host never gave."""
    files = {each.name: network(each.format) for each in artifacts}
    logits = dict.fromkeys((FP32_REFERENCE, *files), LOGITS) | dict(host or {})
    labels = np.asarray(LOGITS.argmax(axis=1), np.int64)
    return bundles.write_bundle(folder / "net.edgepack", files, artifacts, logits=logits, labels=labels, target=target)


def measured(
    bundle: Bundle,
    medians_us: Mapping[str, int],
    *,
    wrong: Mapping[str, Sequence[int]] | None = None,
    fastest: str | None,
    device: DeviceFacts | None = None,
    threads: int = 2,
) -> Report:
    """Return a sealed report of a bundle in which these artifacts took so long, and answered so many wrongly."""
    found = reports.host()
    return report.seal(
        replace(
            found,
            bundle_id=bundle.id,
            settings=replace(found.settings, threads=threads),
            device=device or reports.device(),
            artifacts=tuple(
                reports.artifact(name, size=100, medians_us=(median,) * 5, wrong=(wrong or {}).get(name, ()))
                for name, median in medians_us.items()
            ),
            fastest=fastest,
        )
    )


def with_report(bundle: Bundle, found: Report) -> Bundle:
    """Append a host report to a bundle that has none, and open it again."""
    writer.add_host_report(bundle.path, found)
    return open_bundle(bundle.path)
