"""Channels that can only go together, over as many layers as they run through, and the network without them.

Which they are, how much each is worth and how layers are cut is torch-pruning's (Fang et al. 2023, arXiv:2301.12900).
How many go is decided in `cuts`: the library's own pruner counts shares of the network that it is handed, rounds down,
and leaves layers whole that would be left with less than one multiple.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch_pruning  # type: ignore[import-untyped]  # it ships no types
from torch import Tensor, nn

from packager.prune.tracing import Part, parts
from packager.quiet import quiet

Score = Callable[[torch_pruning.Group], Tensor | None]
"""How much each channel of a group is worth; None where this cannot be told of the group."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Coupled:
    """Channels that run through several layers: those of the first, and what depends on them."""

    layers: tuple[str, ...]
    """Whose output channels they are."""
    width: int
    """How many."""
    parts: int
    """Of a grouped convolution or normalisation, of which each loses the same channels; otherwise 1."""
    scores: Tensor
    """Of the `width // parts` channels in each part."""

    def going(self, width: int) -> list[int]:
        """Return the channels of the first layer that go when so many stay: those that are worth least."""
        size = self.width // self.parts
        order: list[int] = self.scores.argsort(stable=True)[: size - width // self.parts].tolist()
        return sorted(part * size + channel for part in range(self.parts) for channel in order)


def coupled(module: nn.Module, example: Tensor, score: Score) -> list[Coupled]:
    """Return all channels that can go without changing the shape of the network's answers.

    All parameters get gradients.
    """
    return [group for part in parts(module, example) for group in _of_part(part, score)]


def without(module: nn.Module, example: Tensor, going: Mapping[str, Sequence[int]]) -> nn.Module:
    """Return a copy without these output channels of these layers, and without all that depends on them.

    All its parameters get gradients. It need not run: its own code may be written for the widths that it had.
    """
    module = copy.deepcopy(module)
    for part in parts(module, example):
        names = part.names()
        with quiet():
            for layer in [layer for layer in part.graph.module2node if names.get(layer) in going]:
                cut = part.graph.get_pruner_of_module(layer).prune_out_channels
                part.graph.get_pruning_group(layer, cut, list(going[names[layer]])).prune()
    return module


def _of_part(part: Part, score: Score) -> list[Coupled]:
    with quiet():
        groups = [group for group in part.graph.get_all_groups() if not _leaves(part.graph, group)]
        scored = [(group, score(group)) for group in groups]
    return [_described(part, group, scores) for group, scores in scored if scores is not None]


def _leaves(graph: torch_pruning.DependencyGraph, group: torch_pruning.Group) -> bool:
    return any(not dep.target.outputs and graph.is_out_channel_pruning_fn(dep.handler) for dep, _ in group)


def _described(part: Part, group: torch_pruning.Group, scores: Tensor) -> Coupled:
    names = part.names()
    cut = [dep.target.module for dep, _ in group if part.graph.is_out_channel_pruning_fn(dep.handler)]
    layers = dict.fromkeys(names[layer] for layer in cut if layer in names)
    count = max(_parts(part.graph, dep) for dep, _ in group)
    # Where every score of a group is zero, the library has divided zero by zero.
    each = torch.nan_to_num(scores.float().cpu()).view(count, -1).mean(0)
    return Coupled(layers=tuple(layers), width=len(scores), parts=count, scores=each)


def _parts(graph: torch_pruning.DependencyGraph, dep: torch_pruning.Dependency) -> int:
    layer = dep.target.module
    if isinstance(layer, nn.Conv2d) and layer.groups == layer.out_channels:
        return 1  # depthwise: each channel is free to go
    pruner = graph.get_pruner_of_module(layer)
    out = graph.is_out_channel_pruning_fn(dep.handler)
    count: int = pruner.get_out_channel_groups(layer) if out else pruner.get_in_channel_groups(layer)
    return count
