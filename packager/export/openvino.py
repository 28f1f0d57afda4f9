"""OpenVINO files: its own graph and weights, read from an ONNX file, in the one file that the runner takes."""

import itertools
import re
import tempfile
from pathlib import Path
from typing import Literal

from packager.quantize.refused import refused
from packager.quiet import quiet
from runner import openvino_file
from runner.runtimes.openvino import PRECISION, openvino

Half = Literal["f16", "bf16"]
CANNOT, WAY_OUT = "OpenVINO cannot read the network", "leave the artifacts for openvino out"
COUNTED = re.compile(rb'(?<= name=")([A-Z][A-Za-z]*_)(\d+)(?=["/_])')
"""How the name of a node begins that OpenVINO has made up: by its type and a counter of the process."""


def graph(content: bytes) -> openvino.Model:
    """Return an ONNX file as OpenVINO has it, simplified. Raises StepError."""
    with quiet(), refused(CANNOT, WAY_OUT):
        # The device would do the same whenever it loads the file: MobileNetV2 takes a third less to load so.
        from openvino._offline_transformations import apply_moc_transformations  # noqa: PLC0415 - after `openvino`

        model = openvino.Core().read_model(content)
        apply_moc_transformations(model, cf=True, smart_reshape=False)
        return model


def written(model: openvino.Model, half: Half | None = None) -> bytes:
    """Return the file of a graph; `half` stores its weights in 16 bits, and computes so where the CPU can."""
    if half:
        model.set_rt_info(half, PRECISION)
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder, quiet():
        path = Path(folder, "model.xml")
        openvino.save_model(model, path, compress_to_fp16=half is not None)
        return openvino_file.written(_renumbered(path.read_bytes()), path.with_suffix(".bin").read_bytes())


def _renumbered(graph: bytes) -> bytes:
    """Return a graph with the names that OpenVINO has made up numbered in the order in which they stand there."""
    numbers = itertools.count()
    renamed: dict[bytes, bytes] = {}

    def rename(found: re.Match[bytes]) -> bytes:
        if found[0] not in renamed:
            renamed[found[0]] = found[1] + b"%d" % next(numbers)
        return renamed[found[0]]

    return COUNTED.sub(rename, graph)
