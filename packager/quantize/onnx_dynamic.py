"""Dynamic int8 ONNX files: integer weights in linear layers, whose activations are quantized as they come."""

import onnx
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode, QuantType

from packager.export.onnx import stripped
from packager.quantize import NOT_DYNAMIC, Order
from packager.quantize.onnx_graph import CANNOT, WAY_OUT, kept, layers, prepared
from packager.quantize.onnx_static import TYPES
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError

OPERATORS = ("MatMul", "Gemm", "LSTM")
"""Linear and recurrent layers. ONNX Runtime's integer convolution is slower than the one in fp32."""
INTEGER_OPERATORS = {"MatMulInteger", "DynamicQuantizeLSTM"}
NO_LAYER = "ONNX Runtime's dynamic quantization takes linear layers and LSTMs, and the network has none"


def quantize(content: bytes, order: Order) -> bytes:
    """Return the file with int8 weights in its linear layers. Raises StepError where it has none."""
    model = prepared(content)
    found = [layer for layer in layers(model) if layer.operator in OPERATORS]
    if not found:
        raise StepError(NO_LAYER, advice=NOT_DYNAMIC)
    # The quantizer makes a MatMul of each Gemm first, of another name.
    excluded = [name for layer in kept(found, order.plan.keep_fp32) for name in (layer.node, f"{layer.node}_MatMul")]
    quantized = _integers(model, order, excluded)
    if not any(node.op_type in INTEGER_OPERATORS for node in quantized.graph.node):
        raise StepError(NO_LAYER, advice=NOT_DYNAMIC)
    return stripped(quantized)


def _integers(model: onnx.ModelProto, order: Order, excluded: list[str]) -> onnx.ModelProto:
    # The quantizer transposes weights and trips over the shapes that were inferred for them before.
    del model.graph.value_info[:]
    with quiet(), refused(CANNOT, WAY_OUT):
        quantizer = ONNXQuantizer(
            model,
            per_channel=order.per_channel,
            reduce_range=order.target.reduce_range,
            mode=QuantizationMode.IntegerOps,
            static=False,
            weight_qType=TYPES[order.target.weight_type],
            activation_qType=QuantType.QUInt8,  # as the operators have it
            tensors_range=None,
            nodes_to_quantize=[],
            nodes_to_exclude=excluded,
            op_types_to_quantize=OPERATORS,
            extra_options={"MatMulConstBOnly": True},
        )
        quantizer.quantize_model()
        quantized: ONNXModel = quantizer.model
        quantized.topological_sort()
    return quantized.model
