"""int8 LiteRT files, by ai-edge-quantizer: ranges that are ours, integers as XNNPACK takes them.

XNNPACK computes them exactly on every CPU, so that the weights never need one bit less.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from torch import nn

from packager import installed
from packager.quantize import Order
from packager.quantize.refused import refused
from packager.quiet import silence
from runner.errors import StepError

CANNOT = "ai-edge-quantizer cannot quantize the network"
WAY_OUT = "leave the layer in fp32, with --keep-fp32, or int8.litert out"
BITS = 8
Statistics = Mapping[str, Mapping[str, NDArray[np.float32]]]
"""Tensor's name -> min and max, as the quantizer takes them."""


def quantize(content: bytes, module: nn.Module, order: Order) -> bytes:
    """Return a converted network in int8 behind a float32 face; the file's tensors have the names of its layers.

    Raises StepError where a range is not finite, or `keep_fp32` names no layer.
    """
    installed.hold("litert", "ai_edge_quantizer")
    from ai_edge_quantizer import qtyping, quantizer, recipe_manager  # noqa: PLC0415 - heavy

    from packager.export.litert_graph import Graph  # noqa: PLC0415 - as above
    from packager.quantize import litert_layers, litert_ranges  # noqa: PLC0415 - as above

    graph = Graph(content)
    kept = litert_layers.kept(graph, module, order)
    found: Statistics | None = None
    if order.plan.method == "static":
        ranges = litert_ranges.ranges(content, order)
        litert_ranges.bound_padding(graph, ranges)
        found = {name: _statistics(low, high) for name, (low, high) in ranges.items()}
    granularity = qtyping.QuantGranularity.CHANNELWISE if order.per_channel else qtyping.QuantGranularity.TENSORWISE
    everything = ".*", qtyping.TFLOperationName.ALL_SUPPORTED
    recipe = recipe_manager.RecipeManager()
    if found is None:
        recipe.add_dynamic_config(*everything, BITS, granularity)
    else:
        recipe.add_static_config(*everything, BITS, BITS, granularity)
    for face in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
        recipe.add_quantization_config(everything[0], face, algorithm_key=litert_layers.AS_IT_IS)
    for scope in kept:
        recipe.add_quantization_config(scope, everything[1], algorithm_key=litert_layers.AS_IT_IS)
    with silence(), refused(CANNOT, WAY_OUT):
        made = quantizer.Quantizer(bytearray(graph.bytes()), recipe.get_quantization_recipe()).quantize(
            found, enable_progress_bar=False, enable_progress_report=False
        )
    if not made.quantized_model:
        raise StepError(CANNOT, advice=WAY_OUT)
    return bytes(made.quantized_model)


def _statistics(low: float, high: float) -> Mapping[str, NDArray[np.float32]]:
    # One range for a whole tensor; the quantizer gives it the rank of its tensor.
    return {"min": np.array([[[[low]]]], np.float32), "max": np.array([[[[high]]]], np.float32)}
