"""LiteRT files: in fp32, and in int8 for XNNPACK."""

from dataclasses import replace
from pathlib import Path

from packager.builders.context import BuildContext
from packager.export import Exported, litert
from runner import codec
from runner.manifest import Target

CONVERTED = "converted.tflite"


def fp32(context: BuildContext, _: Target) -> Exported:
    """Return the network as a LiteRT file."""
    return litert.finished(_converted(context), context.bench.example)


def int8(context: BuildContext, target: Target) -> Exported:
    """Return the network in int8; the weights of one layer have as many scales as the recipe says."""
    from packager.quantize import litert as quantizer  # noqa: PLC0415 - heavy

    # Kernels that are exact need no bit less.
    order = context.order(replace(target, reduce_range=False))
    # Both round weights to 127 steps on either side of zero.
    module = context.adjusted(order, "onnxruntime" if order.plan.method == "static" else None)
    is_as_trained = module is context.network.module
    converted = _converted(context) if is_as_trained else litert.convert(module, context.bench.example)
    return litert.finished(quantizer.quantize(converted, module, order), context.bench.example)


def _converted(context: BuildContext) -> bytes:
    """Return the network with the names of its layers: converted once for fp32 and int8, and found again."""

    def make(folder: Path) -> None:
        (folder / CONVERTED).write_bytes(litert.convert(context.network.module, context.bench.example))

    inputs = {"network": context.network.key, "preprocess": context.bench.splits.preprocess}
    given = {name: codec.unstructure(value) for name, value in inputs.items()}
    return (context.bench.cache.made("converted.litert", given, make).folder / CONVERTED).read_bytes()
