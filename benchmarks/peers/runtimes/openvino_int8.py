"""OpenVINO with NNCF's static int8, by its defaults, and its model type for networks with attention."""

import openvino

from benchmarks.peers.case import CALIBRATION, Case
from benchmarks.peers.runtimes import Loaded
from benchmarks.peers.runtimes.openvino_fp32 import FILE, compiled, convert

ATTENTION = ("swin", "vit", "maxvit")


def build(case: Case) -> None:
    """Convert, calibrate and quantize."""
    import nncf  # noqa: PLC0415 - it brings PyTorch, which is not for those that are timed

    batches = case.batches(CALIBRATION)
    name = case.model.rpartition(":")[2]
    quantized = nncf.quantize(
        convert(case),
        nncf.Dataset(batches),
        subset_size=len(batches),
        model_type=nncf.ModelType.TRANSFORMER if name.startswith(ATTENTION) else None,
    )
    openvino.save_model(quantized, case.folder / FILE)


def load(case: Case) -> Loaded:
    """Return the file, compiled for latency."""
    return compiled(case.folder / FILE, case.threads)
