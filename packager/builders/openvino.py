"""OpenVINO files: in fp32, with weights of 16 bits, and with integers by NNCF or from training with their rounding."""

from dataclasses import replace

from packager import installed
from packager.builders import onnx
from packager.builders.context import BuildContext
from packager.export import Exported
from packager.quantize import NOT_DYNAMIC
from runner.errors import StepError
from runner.manifest import Target


def fp32(context: BuildContext, target: Target) -> Exported:
    """Return the network as OpenVINO has it."""
    return _written(onnx.fp32(context, target))


def fp16(context: BuildContext, target: Target) -> Exported:
    """Return the network with weights of 16 bits, with which it computes where the CPU can."""
    return _written(onnx.fp32(context, target), half=True)


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


def _written(whole: Exported, *, half: bool = False) -> Exported:
    """Return an ONNX file as one of OpenVINO."""
    installed.hold("openvino", "openvino")
    from packager.export import openvino  # noqa: PLC0415 - heavy

    return replace(whole, content=openvino.written(openvino.graph(whole.content), half=half))
