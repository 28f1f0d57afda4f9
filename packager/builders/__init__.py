"""One builder for each kind of candidate: from a network to the bytes of a file. One format, one file.

The libraries behind a builder load when it is called: each is heavy, and some are deprecated.
"""

import torch

from packager.builders import aotinductor, executorch, litert, onnx, openvino, torchscript
from packager.builders.context import BuildContext, Builder
from packager.candidates import NAMES
from packager.export import Exported
from runner.manifest import Candidate, Target

__all__ = ["BUILDERS", "BuildContext", "Builder", "export"]

BUILDERS: dict[Candidate, Builder] = {
    NAMES["fp32.onnx"]: onnx.fp32,
    NAMES["fp16.onnx"]: onnx.fp16,
    NAMES["int8.onnx"]: onnx.int8,
    NAMES["int8-optimised.onnx"]: onnx.optimised,
    NAMES["int8-qoperator.onnx"]: onnx.qoperator,
    NAMES["int8-mixed.onnx"]: onnx.mixed,
    NAMES["int8-weights.onnx"]: onnx.weights(8),
    NAMES["int4-weights.onnx"]: onnx.weights(4),
    NAMES["fp32.torchscript"]: torchscript.fp32,
    NAMES["fp16.torchscript"]: torchscript.half(torch.float16),
    NAMES["bf16.torchscript"]: torchscript.half(torch.bfloat16),
    NAMES["int8.torchscript"]: torchscript.int8,
    NAMES["fp32.litert"]: litert.fp32,
    NAMES["int8.litert"]: litert.int8,
    NAMES["fp32.openvino"]: openvino.fp32,
    NAMES["fp16.openvino"]: openvino.half("f16"),
    NAMES["bf16.openvino"]: openvino.half("bf16"),
    NAMES["int8.openvino"]: openvino.int8,
    NAMES["fp32.executorch"]: executorch.fp32,
    NAMES["int8.executorch"]: executorch.int8,
    NAMES["int8-onednn.torchscript"]: torchscript.onednn,
    NAMES["fp32.aotinductor"]: aotinductor.fp32,
    NAMES["bf16.aotinductor"]: aotinductor.bf16,
    NAMES["int8.aotinductor"]: aotinductor.int8,
}


def export(candidate: Candidate, context: BuildContext, target: Target) -> Exported:
    """Make the file of a candidate. Raises StepError."""
    return BUILDERS[candidate](context, target)
