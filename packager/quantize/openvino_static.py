"""Static int8 for OpenVINO: ranges from our calibration samples, and where to round by NNCF, its own tool."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray

from packager.export.openvino import graph
from packager.quantize import Order
from packager.quantize.calibration import Calibration
from packager.quantize.onnx_graph import kept, layers, prepared
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.runtimes.openvino import openvino

# It would tell its maker of every call.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None: it cannot be imported
import nncf  # noqa: E402 - as above
from nncf.quantization.advanced_parameters import (  # noqa: E402 - as above
    AdvancedQuantizationParameters,
    AdvancedSmoothQuantParameters,
    OverflowFix,
    QuantizationParameters,
)
from nncf.quantization.range_estimator import RangeEstimatorParametersSet  # noqa: E402 - as above

CANNOT = "NNCF cannot quantize the network"
WAY_OUT = "leave the layer in fp32, with --keep-fp32, or int8.openvino out"
WEIGHTED = frozenset({"Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul"})
"""What OpenVINO calls the operators of layers with weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _OneByOne:
    """The calibration samples, which NNCF goes over as often as it likes."""

    calibration: Calibration

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        return self.calibration.batches("calibrate openvino", 1)


def quantize(content: bytes, order: Order) -> openvino.Model:
    """Return an ONNX file as a graph of OpenVINO in int8. Raises StepError."""
    model = prepared(content)
    found = graph(model.SerializeToString())
    in_fp32 = _names(found, [layer.node for layer in kept(layers(model), order.plan.keep_fp32)])
    with quiet(), refused(CANNOT, WAY_OUT):
        return nncf.quantize(
            found,
            nncf.Dataset(_OneByOne(calibration=order.calibration)),
            subset_size=len(order.calibration.samples),
            target_device=nncf.TargetDevice.CPU,
            preset=nncf.QuantizationPreset.PERFORMANCE if order.plan.symmetric else nncf.QuantizationPreset.MIXED,
            model_type=nncf.ModelType.TRANSFORMER if _attends(model) else None,
            ignored_scope=nncf.IgnoredScope(names=in_fp32),
            advanced_parameters=_advanced(order),
        )


def _advanced(order: Order) -> AdvancedQuantizationParameters:
    """Return what differs from NNCF's own choice.

    With that (means of the samples' ranges, no zero points, fast bias correction) a trained ResNet-8 had 15.7 dB of
    signal to noise; with whole ranges and zero points 18.4, without its bias correction as well 34.9. One layer of
    attention had 2.9 with SmoothQuant, and 29.9 without.
    """
    return AdvancedQuantizationParameters(
        activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        disable_bias_correction=True,
        smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=-1, convolution=-1),
        # Of x86 without VNNI: there all weights have one bit less. NNCF's own choice is the first layer's alone.
        overflow_fix=OverflowFix.ENABLE if order.target.reduce_range else OverflowFix.DISABLE,
        weights_quantization_params=QuantizationParameters(per_channel=None if order.per_channel else False),
    )


def _names(model: openvino.Model, nodes: list[str]) -> list[str]:
    """Return what OpenVINO calls these nodes of the ONNX file: it adds what it has split off, such as a bias."""
    names = (each.get_friendly_name() for each in model.get_ordered_ops() if each.get_type_name() in WEIGHTED)
    return [name for name in names if any(name == node or name.startswith(f"{node}/") for node in nodes)]


def _attends(model: onnx.ModelProto) -> bool:
    """Say whether a network weighs one part of its input by another: shares that are computed and used further on."""
    used = {name for node in model.graph.node for name in node.input}
    return any(node.op_type == "Softmax" and node.output[0] in used for node in model.graph.node)
