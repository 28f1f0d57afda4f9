"""ONNX Runtime's own static quantization: QDQ, unsigned activations and signed weights, per channel."""

from benchmarks.peers.case import CALIBRATION, Case
from benchmarks.peers.runtimes import Inputs, Loaded
from benchmarks.peers.runtimes.onnxruntime_fp32 import FILE, session

PREPARED, QUANTIZED = "prepared.onnx", "int8.onnx"


class Reader:
    """Hands over calibration samples, batch by batch: a CalibrationDataReader by what it can do."""

    def __init__(self, name: str, batches: list[Inputs]) -> None:
        self.name = name
        self.left = iter(batches)

    def get_next(self) -> dict[str, Inputs] | None:
        """Return the next batch under the input's name, or None after the last."""
        batch = next(self.left, None)
        return None if batch is None else {self.name: batch}


def build(case: Case) -> None:
    """Export, prepare, calibrate and quantize."""
    import onnx  # noqa: PLC0415 - none of these is for those that are timed
    from onnxruntime.quantization import (  # noqa: PLC0415 - as above
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - as above

    from benchmarks.peers.runtimes.onnx_file import export  # noqa: PLC0415 - as above

    export(case, FILE)
    quant_pre_process(str(case.folder / FILE), str(case.folder / PREPARED))
    name = onnx.load(case.folder / PREPARED, load_external_data=False).graph.input[0].name
    quantize_static(
        str(case.folder / PREPARED),
        str(case.folder / QUANTIZED),
        Reader(name, case.batches(CALIBRATION)),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
    )


def load(case: Case) -> Loaded:
    """Return a session on the quantized file."""
    return session(case.folder / QUANTIZED, case.threads)
