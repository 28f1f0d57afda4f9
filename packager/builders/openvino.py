"""OpenVINO files: in fp32, with weights of 16 bits, and with integers by NNCF or from training with their rounding."""

from dataclasses import replace
from typing import TYPE_CHECKING

from packager import installed
from packager.builders import onnx
from packager.builders.context import BuildContext, Builder
from packager.export import Exported
from packager.quantize import NOT_DYNAMIC
from runner.errors import StepError
from runner.manifest import Target

if TYPE_CHECKING:
    from packager.export.openvino import Half


def fp32(context: BuildContext, target: Target) -> Exported:
    """Return the network as OpenVINO has it."""
    return _written(onnx.fp32(context, target))


def half(kind: "Half") -> Builder:
    """Return the builder of files with weights of 16 bits, that compute in so many where the CPU can."""
    return lambda context, target: _written(onnx.fp32(context, target), kind)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8."""
    order = context.order(target)
    if order.plan.method == "dynamic":
        what = "OpenVINO's int8 has ranges of its own for activations, fixed by calibration"
        raise StepError(what, advice=f"{NOT_DYNAMIC}, or leave int8.openvino out")
    if order.plan.qat is not None:
        return _written(onnx.learned(context, order))
    installed.hold("openvino", "openvino", "nncf")
    from packager.export import openvino  # noqa: PLC0415 - heavy
    from packager.quantize import openvino_static  # noqa: PLC0415 - heavy

    whole = onnx.to_quantize(context, order)
    return replace(whole, content=openvino.written(openvino_static.quantize(whole.content, order)))


def _written(whole: Exported, kind: "Half | None" = None) -> Exported:
    """Return an ONNX file as one of OpenVINO."""
    installed.hold("openvino", "openvino")
    from packager.export import openvino  # noqa: PLC0415 - heavy

    return replace(whole, content=openvino.written(openvino.graph(whole.content), kind))
