"""Layers by their names: what the patterns of a recipe stand for."""

import fnmatch
from collections.abc import Sequence

from torch import nn

from runner.errors import StepError, nearest

MOST_NAMES = 12
"""Of layers, in a message."""


def matches(layer: str, patterns: Sequence[str]) -> bool:
    """Say whether one of the patterns, such as `stack1.*`, names the layer or a part of the network that it is in."""
    return any(fnmatch.fnmatchcase(layer, form) for pattern in patterns for form in (pattern, f"{pattern}.*"))


def check(module: nn.Module, patterns: Sequence[str], key: str) -> None:
    """Raise StepError for a pattern under `key` of the recipe that names nothing in the network."""
    names = [name for name, _ in module.named_modules() if name]
    for pattern in patterns:
        if not any(matches(name, [pattern]) for name in names):
            advice = nearest(pattern, names) or f"names of the network's, such as {', '.join(names[:MOST_NAMES])}"
            raise StepError(f"{pattern!r} names no layer of the network", where=key, advice=advice)
