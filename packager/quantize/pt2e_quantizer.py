"""Where integers begin and end in a network: for XNNPACK its own quantizer, for ONNX Runtime torchao's, completed."""

import importlib
from collections.abc import Collection

import torch
from torch.fx import GraphModule, Node

from packager.quantize import Order
from packager.quantize.pt2e_graph import CONVOLUTIONS, DROPOUT, layers
from packager.quantize.pt2e_norms import BATCH_NORM
from packager.quantize.pt2e_observer import config
from packager.quantize.torchao_pt2e import (
    QUANT_ANNOTATION_KEY,
    QuantizationConfig,
    Quantizer,
    X86Annotation,
    X86InductorQuantizer,
)
from packager.quiet import quiet

aten = torch.ops.aten
ACTIVATIONS = (aten.relu.default, aten.hardtanh.default, aten.relu6.default)
"""Those that the range of what follows them has in it already."""
MEANS = (aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default)
IMAGE_DIMENSIONS = 4
XNNPACK = "executorch.backends.xnnpack.quantizer.xnnpack_quantizer"


def quantizer(order: Order, kept: frozenset[str], *, qat: bool) -> Quantizer:
    """Return a quantizer for the order's kernels; `kept` layers stay in fp32. XNNPACK's is ExecuTorch's, an extra."""
    settings = config(order, qat=qat)
    if order.kernels == "onnxruntime":
        return IntegerQuantizer(settings, kept)
    with quiet():
        xnnpack = importlib.import_module(XNNPACK)
    made = xnnpack.XNNPACKQuantizer().set_global(settings)
    made.set_filter_function(lambda node: kept.isdisjoint(layers(node)))
    return OwnMeans(made, settings)


class OwnMeans(Quantizer):  # type: ignore[misc]  # torchao ships no types
    """XNNPACK's quantizer, with averages that have ranges of their own.

    It gives an average the scale of what it is the average of. Of 64 integers many averages then lie halfway between
    two others, and XNNPACK's kernels for x86 and for ARM do not round these alike. The range is also narrower.
    """

    def __init__(self, quantizer: Quantizer, settings: QuantizationConfig) -> None:
        super().__init__()
        self.quantizer = quantizer
        self.activation = settings.input_activation

    def transform_for_annotation(self, model: GraphModule) -> GraphModule:
        """Change the graph as the quantizer needs it."""
        transformed: GraphModule = self.quantizer.transform_for_annotation(model)
        return transformed

    def annotate(self, model: GraphModule) -> GraphModule:
        """Note at each node what of it is rounded."""
        annotated: GraphModule = self.quantizer.annotate(model)
        for node in annotated.graph.nodes:
            if node.target in MEANS and _is_rounded(node):
                node.meta[QUANT_ANNOTATION_KEY].output_qspec = self.activation
        return annotated

    def validate(self, model: GraphModule) -> None:
        """Look the notes over."""
        self.quantizer.validate(model)


class IntegerQuantizer(X86InductorQuantizer):  # type: ignore[misc]  # torchao ships no types
    """torchao's for x86, which leaves to Inductor what ONNX Runtime must be told.

    An integer convolution of ONNX Runtime returns integers, and so does an addition. torchao's quantizer adds to a
    convolution's result in fp32, and gives an average the range of what it is the average of.
    """

    def __init__(self, settings: QuantizationConfig, kept: frozenset[str]) -> None:
        super().__init__()
        self.kept = kept
        self.activation = settings.input_activation
        self.set_global(settings)

    def annotate(self, model: GraphModule) -> GraphModule:
        """Note at each node what of it is rounded."""
        nodes = list(model.graph.nodes)
        for node in nodes:
            if self._stays(node):
                node.meta[QUANT_ANNOTATION_KEY] = X86Annotation(_annotated=True)
        super().annotate(model)
        for node in nodes:
            if node.target in CONVOLUTIONS and _rounded_inputs(node):
                self._round(_end(node))
        for node in nodes:
            if self._is_residual(node):
                _annotation(node).input_qspec_map = dict.fromkeys(node.all_input_nodes, self.activation)
                self._round(_end(node))
        super().annotate(model)  # once more: pooling follows what has become integers
        for node in nodes:
            if node.target in MEANS and _rounded_inputs(node):
                self._round(node)
            if node.target == DROPOUT:
                self._round_before(node)
        return model

    def _stays(self, node: Node) -> bool:
        return not self.kept.isdisjoint(layers(node))

    def _round(self, node: Node) -> None:
        annotation = _annotation(node)
        annotation.output_qspec = self.activation
        annotation._is_output_of_quantized_pattern = True  # noqa: SLF001 - torchao has no public name for it

    def _is_residual(self, node: Node) -> bool:
        """Say whether a node adds features of images, one of them rounded already."""
        inputs = node.all_input_nodes
        return (
            node.target == aten.add.Tensor
            and not self._stays(node)
            and len(inputs) == len(node.args) == 2
            and len(_shape(node)) == IMAGE_DIMENSIONS
            and all(_shape(each) == _shape(node) for each in inputs)
            and any(_is_rounded(each) for each in inputs)
        )

    def _round_before(self, dropout: Node) -> None:
        """Round what dropout gets, in the place of what it gives: after the training it is not there."""
        users = [user for user in dropout.users if dropout in _rounded_inputs(user)]
        for user in users:
            del _annotation(user).input_qspec_map[dropout]
        source = dropout.all_input_nodes[0]
        if users and not _is_rounded(source):
            self._round(source)


def _annotation(node: Node) -> X86Annotation:
    """Return a node's annotation, which it gets where it has none."""
    annotation: X86Annotation = node.meta.setdefault(QUANT_ANNOTATION_KEY, X86Annotation(_annotated=True))
    return annotation


def _rounded_inputs(node: Node) -> Collection[Node]:
    return _annotation(node).input_qspec_map if QUANT_ANNOTATION_KEY in node.meta else ()


def _is_rounded(node: Node) -> bool:
    return QUANT_ANNOTATION_KEY in node.meta and _annotation(node).output_qspec is not None


def _end(node: Node) -> Node:
    """Return the last of the nodes that become one integer operator with this one: its batch norm, its ReLU."""
    for kinds in ((BATCH_NORM,), ACTIVATIONS):
        users = list(node.users)
        if len(users) == 1 and users[0].target in kinds:
            node = users[0]
    return node


def _shape(node: Node) -> tuple[object, ...]:
    return tuple(getattr(node.meta.get("val"), "shape", ()))
