"""One file for each runtime that is measured, in the manner that its own documentation advises.

Each has `build(case)`, which writes what it needs into the case's folder, and `load(case)`, which returns it ready to
be called. They run in environments of their own, and import nothing of ours but `models`, a case and each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.case import Case

Inputs = NDArray[np.float32]
Native = Any
"""What a runtime takes and gives of itself: a tensor, an array."""


def as_it_is(value: Native) -> Native:
    """Return an array where a runtime takes and gives arrays."""
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A network that is ready. What is timed is `run` alone."""

    version: str
    run: Callable[[Native], Native]
    take: Callable[[Inputs], Native] = as_it_is
    """Makes of a batch what the runtime takes."""
    give: Callable[[Native], Inputs] = as_it_is
    """Makes an array of what it gives."""


class Peer(Protocol):
    """What each of these modules offers."""

    def build(self, case: Case) -> None:
        """Write what `load` reads."""

    def load(self, case: Case) -> Loaded:
        """Return the network, ready."""
