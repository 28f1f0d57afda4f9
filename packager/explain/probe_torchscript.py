"""Probes of TorchScript files: the same graph as a function with further outputs.

A frozen graph is run operator by operator on a CPU, so that a further output changes nothing; only what is written in
place has to be copied before. What is quantized is returned so, and the runner takes its integers.
"""

import io
from collections import Counter
from collections.abc import Iterator

import torch

from packager.explain.probe import Layer, Made
from packager.quantize.refused import refused
from packager.quiet import quiet
from runner.errors import StepError
from runner.manifest import Engine

MOVES = frozenset(
    f"aten::{name}"
    for name in (
        *("flatten", "view", "reshape", "permute", "transpose", "t", "contiguous", "squeeze", "unsqueeze", "alias"),
        *("slice", "select", "expand", "detach", "clone", "dropout", "feature_dropout"),
    )
)
"""What computes nothing."""
CANNOT, WAY_OUT = "none of its layers can be shown", "compare the logits alone"


def make(content: bytes, engine: Engine | None) -> Made:
    """Return a probe of a TorchScript file for the quantization engine that it was made for.

    Raises StepError where there is nothing to show.
    """
    before = torch.backends.quantized.engine
    try:
        with quiet(), refused(CANNOT, WAY_OUT):
            if engine is not None:
                torch.backends.quantized.engine = engine
            return _made(content)
    finally:
        torch.backends.quantized.engine = before


def _made(content: bytes) -> Made:
    module = torch.jit.load(io.BytesIO(content), map_location="cpu")  # type: ignore[no-untyped-call]  # torch ships it so
    graph = module.inlined_graph.copy()
    itself, *_ = graph.inputs()
    if itself.uses():
        raise StepError(f"{CANNOT}: it is not frozen", advice=WAY_OUT)
    (logits,) = graph.outputs()
    shown = [node for node in _operators(graph) if node.output().debugName() != logits.debugName()]
    if not shown:
        raise StepError(f"{CANNOT}: it has one operator", advice=WAY_OUT)
    copied = any(node.kind().endswith("_") for node in graph.nodes())
    for node in shown:
        graph.registerOutput(_copy(graph, node) if copied else node.output())
    graph.makeMultiOutputIntoTuple()
    graph.eraseInput(0)
    file = io.BytesIO()
    function = torch._C._create_function_from_graph("forward", graph)  # noqa: SLF001 - torch has no public way
    torch.jit.save(function, file)
    return Made(content=file.getvalue(), layers=tuple(_layers(shown)))


def _operators(graph: torch._C.Graph) -> Iterator[torch._C.Node]:
    """Yield what computes a tensor."""
    for node in graph.nodes():
        is_operator = not node.kind().startswith("prim::") and node.kind() not in MOVES
        if is_operator and node.outputsSize() == 1 and node.output().type().kind() == "TensorType":
            yield node


def _copy(graph: torch._C.Graph, node: torch._C.Node) -> torch._C.Value:
    """Return a copy of what an operator returns, made before anybody writes in it."""
    with graph.insert_point_guard(node):
        same_layout = graph.insertConstant(None)  # type: ignore[attr-defined]  # torch's stub lacks it
    copy = graph.create("aten::clone", [node.output(), same_layout], 1)
    copy.insertAfter(node)
    copy.output().setType(node.output().type())
    return copy.output()


def _layers(nodes: list[torch._C.Node]) -> Iterator[Layer]:
    """Yield layers under the names that they have in a profile: which one of its type each operator is."""
    seen = Counter[str]()
    for node in nodes:
        seen[node.kind()] += 1
        yield Layer(name=f"{node.kind()} {seen[node.kind()]}", operator=node.kind())
