"""The parts of a network that torch-pruning can follow: the whole of it, or what is left of it where that fails."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch_pruning  # type: ignore[import-untyped]  # it ships no types
from torch import Tensor, nn
from torch_pruning.dependency.index_mapping import (  # type: ignore[import-untyped]  # as above
    _FlattenIndexMapping as Flattening,
)

from packager.quiet import quiet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Part:
    """A module whose layers' dependencies are known."""

    name: str
    """In the network; empty for the network itself."""
    module: nn.Module
    graph: torch_pruning.DependencyGraph

    def names(self) -> dict[nn.Module, str]:
        """Return module -> its name in the network."""
        return {layer: name for name, layer in self.module.named_modules(prefix=self.name)}


def parts(module: nn.Module, example: Tensor, name: str = "") -> Iterator[Part]:
    """Yield the network, or where its own code mixes channels in ways that cannot be followed, the parts that can be.

    A shuffle of channels is such code. What enters and leaves a part keeps its width. All parameters get gradients.
    """
    for parameter in module.parameters():
        parameter.requires_grad_()
    try:
        graph = _graph(module, example)
    except Exception:  # noqa: BLE001 - torch-pruning raises whatever its arithmetic runs into
        for child, entering in _entering(module, example).items():
            yield from parts(module.get_submodule(child), entering, f"{name}.{child}" if name else child)
    else:
        yield Part(name=name, module=module, graph=graph)


def _graph(module: nn.Module, example: Tensor) -> torch_pruning.DependencyGraph:
    """Return what depends on what. Raises ValueError where torch-pruning would follow wrong ways, for hours."""
    with quiet(), torch.enable_grad():
        # In a list: a bare tensor would be unpacked, and its one sample go in without a batch.
        graph = torch_pruning.DependencyGraph().build_dependency(module, [example])
    # It takes each reshape that changes the number of channels for a flattening, of which a classifier has one before
    # its linear layers. Attention reshapes back and forth, and with each the indices to be followed multiply.
    mappings = [way for node in graph.module2node.values() for dep in node.dependencies for way in dep.index_mapping]
    if sum(isinstance(way, Flattening) and not way.reverse for way in mappings) > 1:
        raise ValueError("the network reshapes more than once")
    return graph


def _entering(module: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """Return child -> the tensor that it is called with, for children that are called once, with one tensor."""
    seen: dict[str, list[Tensor | None]] = {}

    def record(child: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        only = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], Tensor) else None
        seen.setdefault(names[child], []).append(only)

    names = {child: name for name, child in module.named_children()}
    hooks = [child.register_forward_pre_hook(record) for child in names]
    try:
        with quiet(), torch.no_grad():
            module(example)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: calls[0] for name, calls in seen.items() if len(calls) == 1 and calls[0] is not None}
