"""Which layers int8 harms most: one at a time is quantized, and the answers are held against those in fp32."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from packager.quantize import Order
from packager.quantize.calibration import STRIDE, Calibration
from packager.quantize.onnx_graph import kept, layers, prepared
from packager.quantize.onnx_operators import operators
from packager.quantize.onnx_ranges import ranges, session
from packager.quantize.onnx_static import integers
from runner.logits import snr_db
from runner.packing import LayerDamage
from runner.progress import Silent

SAMPLES = 256
"""Of those for calibration, on which the answers are compared."""
FOLLOWING = ("Relu", "Clip")
"""What is folded into the range of the layer before it, and so belongs to it."""

Logits = NDArray[np.float32]


def sensitivity(content: bytes, order: Order, *, dynamic_batch: bool = True) -> tuple[LayerDamage, ...]:
    """Return what it does to the answers that each layer alone is quantized, the most harmful first."""
    model = prepared(content)
    nodes = _nodes(model, order)
    found = ranges(model, order, dynamic_batch=dynamic_batch)
    # The one form in which a layer may stand alone between others in fp32, and lose nothing by it.
    order = replace(order, plan=replace(order.plan, operators="qdq"))
    few = _few(order.calibration)
    size = STRIDE if dynamic_batch else 1
    reference = _answers(model.SerializeToString(), few, size)
    damages = []
    with order.calibration.progress.task("quantize one layer at a time", len(nodes)) as advance:
        for layer, names in nodes.items():
            answers = _answers(integers(model, found, order, names), few, size)
            changed = float(np.mean(answers.argmax(axis=1) != reference.argmax(axis=1)))
            damages.append(LayerDamage(layer=layer, snr_db=snr_db(answers, reference), changed=changed))
            advance(note=layer)
    return tuple(sorted(damages, key=lambda damage: float("inf") if damage.snr_db is None else damage.snr_db))


def _nodes(model: onnx.ModelProto, order: Order) -> dict[str, set[str]]:
    """Return the nodes of each layer, by its name: wherever it is used, with the activation that follows."""
    found = layers(model)
    excluded = {layer.name for layer in kept(found, order.plan.keep_fp32)}
    nodes = dict[str, set[str]]()
    integers = operators(model)
    for layer in found:
        if layer.operator in integers and layer.name not in excluded:
            nodes.setdefault(layer.name, set()).update({layer.node, *_following(model, layer.node)})
    return nodes


def _following(model: onnx.ModelProto, name: str) -> Iterator[str]:
    outputs = {output for node in model.graph.node if node.name == name for output in node.output}
    for node in model.graph.node:
        if node.op_type in FOLLOWING and node.input[0] in outputs:
            yield node.name


def _few(calibration: Calibration) -> Calibration:
    chosen = np.arange(min(SAMPLES, len(calibration.samples)))
    return replace(calibration, samples=calibration.samples.subset(chosen), progress=Silent())


def _answers(content: bytes, few: Calibration, size: int) -> Logits:
    opened = session(content, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL)
    (into,), (out, *_) = opened.get_inputs(), opened.get_outputs()
    return np.concatenate([opened.run([out.name], {into.name: batch})[0] for batch in few.batches("", size)])
