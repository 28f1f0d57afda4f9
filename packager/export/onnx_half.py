"""float16 ONNX files from float32 ones, for models that exist only as a file."""

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.transformers.float16 import convert_float_to_float16

from packager.export.onnx import stripped
from packager.quantize.onnx_graph import prepared
from packager.quiet import quiet
from runner.errors import StepError, first_line


def half(content: bytes) -> bytes:
    """Return the file with weights and arithmetic in float16 between inputs and outputs in float32.

    Operators that have no float16 stay as they are. Raises StepError where the file cannot be converted.
    """
    model = prepared(content)
    with quiet():
        try:
            converted = ONNXModel(convert_float_to_float16(model, keep_io_types=True))
            converted.topological_sort()
            onnx.checker.check_model(converted.model)
        except Exception as error:
            what = f"the model cannot be converted to float16: {first_line(error)}"
            raise StepError(what, advice="leave fp16.onnx out") from error
    return stripped(converted.model)
