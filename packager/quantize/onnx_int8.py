"""The former signatures of `onnx_static` and `onnx_dynamic`, for those who have not moved on yet."""

import numpy as np

from packager import recipe
from packager.data import Samples
from packager.quantize import Order, onnx_dynamic, onnx_static
from packager.quantize.calibration import Calibration
from runner.manifest import Preprocess, Target
from runner.progress import Silent


def static(content: bytes, target: Target, calibration: Calibration, batch_size: int) -> bytes:
    """Return the file in static int8."""
    order = Order(target=target, plan=recipe.Quantize(), calibration=calibration)
    return onnx_static.quantize(content, order, dynamic_batch=batch_size > 1)


def dynamic(content: bytes, target: Target) -> bytes:
    """Return the file in dynamic int8."""
    nothing = Samples.whole(np.zeros((0, 1, 1, 1), np.uint8), np.zeros(0, np.int64))
    preprocess = Preprocess(channels=1, height=1, width=1, scale=1.0, mean=(0.0,), std=(1.0,), resize="")
    calibration = Calibration(samples=nothing, preprocess=preprocess, progress=Silent())
    return onnx_dynamic.quantize(content, Order(target=target, plan=recipe.Quantize(), calibration=calibration))
