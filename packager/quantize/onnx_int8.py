"""int8 ONNX files, made from the fp32 file by ONNX Runtime's own tools."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from packager.export.onnx import INPUT, stripped
from packager.quantize import NO_LINEAR_LAYER, NOT_DYNAMIC
from packager.quantize.calibration import Calibration
from packager.quiet import quiet
from runner.errors import StepError
from runner.manifest import IntegerType, Target

DYNAMIC_OPERATORS = ["MatMul", "Gemm", "LSTM"]
"""Linear and recurrent layers. ONNX Runtime's integer convolution is slower than the one in fp32."""
TYPES: dict[IntegerType, QuantType] = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}


class _Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands calibration batches to ONNX Runtime."""

    def __init__(self, batches: Iterator[NDArray[np.float32]]) -> None:
        self.batches = batches

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch by the input's name, or None at the end."""
        batch = next(self.batches, None)
        return None if batch is None else {INPUT: batch}


def static(content: bytes, target: Target, calibration: Calibration, batch_size: int) -> bytes:
    """Return the file with quantize and dequantize operators around every layer, ranges by min and max."""
    with _folder(content) as (prepared, quantized):
        quantize_static(
            prepared,
            quantized,
            _Reader(calibration.batches("calibrate onnx", batch_size)),
            quant_format=QuantFormat.QDQ,
            activation_type=TYPES[target.activation_type],
            weight_type=TYPES[target.weight_type],
            per_channel=target.per_channel,
            # With a zero point of its own each ReLU is folded into the range of what comes before it. A symmetric one
            # leaves them all as fp32 operators: a ResNet-8 was 2 dB noisier and took 8 to 30 % longer.
            extra_options={"ActivationSymmetric": False},
        )
        return stripped(onnx.load(quantized))


def dynamic(content: bytes, target: Target) -> bytes:
    """Return the file with int8 weights in its linear layers, whose activations are quantized as they come.

    Raises StepError where it has none.
    """
    with _folder(content) as (prepared, quantized):
        model = onnx.load(prepared)
        # The quantizer transposes weights and trips over the shapes that were inferred for them before.
        del model.graph.value_info[:]
        quantize_dynamic(
            model,
            quantized,
            op_types_to_quantize=DYNAMIC_OPERATORS,
            per_channel=target.per_channel,
            weight_type=TYPES[target.weight_type],
        )
        model = onnx.load(quantized)
    if not any(node.op_type == "DynamicQuantizeLinear" for node in model.graph.node):
        raise StepError(NO_LINEAR_LAYER, advice=NOT_DYNAMIC)
    return stripped(model)


@contextlib.contextmanager
def _folder(content: bytes) -> Iterator[tuple[Path, Path]]:
    """Yield the file as the quantizer wants it, shapes inferred and batch norms folded, and a path for its result."""
    with tempfile.TemporaryDirectory(prefix="edgepack-") as folder, quiet():
        original, prepared = Path(folder, "fp32.onnx"), Path(folder, "prepared.onnx")
        original.write_bytes(content)
        quant_pre_process(original, prepared, skip_symbolic_shape=True)
        yield prepared, Path(folder, "int8.onnx")
