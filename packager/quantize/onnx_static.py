"""Static int8 ONNX files: ranges from calibration, integers by ONNX Runtime's own quantizers."""

from collections.abc import Collection

import numpy as np
import onnx
from onnxruntime.quantization import QuantType
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorData, TensorsData
from onnxruntime.quantization.onnx_model import ONNXModel
from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxruntime.quantization.quant_utils import QuantizationMode

from packager.export.onnx import stripped
from packager.quantize import Order
from packager.quantize.onnx_graph import CANNOT, WAY_OUT, kept, layers, prepared
from packager.quantize.onnx_mixed import integers_where_they_pay
from packager.quantize.onnx_operators import operators
from packager.quantize.onnx_own_weights import give_own_weights
from packager.quantize.onnx_ranges import Ranges, ranges
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError
from runner.manifest import IntegerType

TYPES: dict[IntegerType, QuantType] = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}


def quantize(content: bytes, order: Order, *, dynamic_batch: bool = True, mixed: bool = False) -> bytes:
    """Return the file in int8; `mixed` leaves in fp32 what is not faster so.

    Raises StepError where a range is not finite, `keep_fp32` names no layer, or the operators cannot be run here.
    """
    if order.plan.operators == "qoperator" and order.target.activation_type == "int8":
        # The option without which x86 kernels may saturate makes weights unsigned, and these operators have no kernel
        # for signed activations with unsigned weights: the host could not say what the file answers.
        what = "ONNX Runtime cannot run QOperator files with signed activations on x86 without saturation"
        raise StepError(what, where=order.target.name, advice='operators = "qdq" in the recipe\'s [quantize]')
    model = prepared(content)
    excluded = {layer.node for layer in kept(layers(model), order.plan.keep_fp32)}
    found = ranges(model, order, dynamic_batch=dynamic_batch)
    nodes = [node.name for node in model.graph.node if node.name not in excluded]
    if mixed:
        nodes = integers_where_they_pay(model, excluded)
    return integers(model, found, order, nodes)


def integers(model: onnx.ModelProto, found: Ranges, order: Order, nodes: Collection[str]) -> bytes:
    """Return a prepared model with the nodes of these names in int8, as far as there are integer operators for them."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    excluded = [node.name for node in model.graph.node if node.name not in nodes]
    # With a zero point of its own each ReLU is folded into the range of what comes before it. A symmetric one
    # leaves them all as fp32 operators: a ResNet-8 was 2 dB noisier and took 8 to 30 % longer.
    options = {"ActivationSymmetric": order.plan.symmetric}
    types = (TYPES[order.target.weight_type], TYPES[order.target.activation_type])
    arguments: tuple[object, ...] = (*types, _tensors(found), [], excluded, operators(model), options)
    with quiet(), refused(CANNOT, WAY_OUT):
        if order.plan.operators == "qdq":
            quantizer = QDQQuantizer(copied, order.per_channel, order.target.reduce_range, *arguments)
        else:
            quantizer = ONNXQuantizer(
                copied, order.per_channel, order.target.reduce_range, QuantizationMode.QLinearOps, True, *arguments
            )
        quantizer.quantize_model()
        quantized: ONNXModel = quantizer.model
        give_own_weights(quantized.graph())
        quantized.topological_sort()
    return stripped(quantized.model)


def _tensors(found: Ranges) -> TensorsData:
    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in found.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)
