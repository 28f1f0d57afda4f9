"""Networks as torch.export gives them: graphs of ATen's operators, evened out for torchao's quantizers."""

from collections import Counter

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn import functional

from packager.failing_layer import ADVICE, failing_layer
from packager.quantize.pt2e_norms import BATCH_NORM, normalised
from runner.errors import StepError, first_line

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv2d.default)
DROPOUT = aten.dropout.default
MODE = {BATCH_NORM: 5, functional.batch_norm: 5, normalised: 6, DROPOUT: 2}
"""Operators that do another thing while a network trains, and which argument says so."""
OUT_OF_PLACE = {
    aten.relu_.default: aten.relu.default,
    aten.add_.Tensor: aten.add.Tensor,
    aten.mul_.Tensor: aten.mul.Tensor,
    aten.hardtanh_.default: aten.hardtanh.default,
    aten.hardswish_.default: aten.hardswish.default,
    aten.hardsigmoid_.default: aten.hardsigmoid.default,
    aten.silu_.default: aten.silu.default,
    aten.dropout_.default: aten.dropout.default,
}
STACK, CALL = "nn_module_stack", "@"


class ExportedNetwork(nn.Module):
    """A graph that has the modes of training and of evaluation, which torch.export leaves out."""

    def __init__(self, network: GraphModule) -> None:
        super().__init__()
        self.network = network
        self.train(mode=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, N x classes."""
        logits: Tensor = self.network(x)
        return logits

    def train(self, mode: bool = True) -> "ExportedNetwork":
        """Set the mode, of the graph's operators too."""
        for module in self.modules():
            module.training = mode
        changed = [
            node for node in self.network.graph.nodes if node.target in MODE and node.args[MODE[node.target]] != mode
        ]
        for node in changed:
            node.update_arg(MODE[node.target], mode)
        if changed:
            self.network.recompile()
        return self


def exported(module: nn.Module, example: Tensor) -> GraphModule:
    """Return the network in eval mode as a graph for batches of any size. Raises StepError naming the failing layer."""
    inputs = (example.expand(2, *example.shape[1:]).clone(),)
    shapes = ({0: torch.export.Dim("batch")},)

    def attempt(network: nn.Module) -> GraphModule:
        program = torch.export.export(network, inputs, dynamic_shapes=shapes)
        return program.module(check_guards=False)

    try:
        graph = attempt(module)
    except Exception as error:
        layer = failing_layer(module, attempt)
        what = f"the network cannot be exported, in {layer}: {first_line(error)}"
        raise StepError(what, advice=f'{ADVICE}, or pack with ONNX Runtime\'s int8: onnx = "onnxruntime"') from error
    for node in graph.graph.nodes:
        node.target = OUT_OF_PLACE.get(node.target, node.target)
    _tell_calls_apart(graph)
    graph.recompile()
    return graph


def without_dropout(graph: GraphModule) -> None:
    """Take dropout out, which does nothing in a network that is not trained further."""
    for node in graph.graph.nodes:
        if node.target == DROPOUT:
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)
    graph.recompile()


def layers(node: Node) -> list[str]:
    """Return the names of the modules that a node was in when it was exported, the outermost first."""
    return [name.partition(CALL)[0] for name, _ in node.meta.get(STACK, {}).values()]


def _tell_calls_apart(graph: GraphModule) -> None:
    """Give each call of a module that is used more than once a name of its own.

    torchao's quantizers take all operators with one name for one call: "more than one output node".
    """
    calls = Counter[str]()
    previous = ""
    for node in graph.graph.nodes:
        stack = node.meta.get(STACK)
        if node.op != "call_function" or not stack:
            continue
        key, (name, kind) = list(stack.items())[-1]
        if name != previous:
            calls[name] += 1
            previous = name
        if calls[name] > 1:
            node.meta[STACK] = {**stack, key: (f"{name}{CALL}{calls[name]}", kind)}
