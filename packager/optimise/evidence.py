"""What the runtime's own profile says of each unit: its time in int8, conversions included, and in fp32."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from packager.optimise.units import Unit
from runner.operators import OperatorTime

ADDED = re.compile(r"(?:_token_\d+|_quant|_nchwc|_(?:Quantize|Dequantize)Linear(?:_\d+)?)+$")
"""What ONNX Runtime and its quantizers put behind the name of a node, or of what it computes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Evidence:
    """Times by the units' names, of one inference each."""

    int8_ns: dict[str, float]
    fp32_ns: dict[str, float]

    def saving(self, names: frozenset[str]) -> float:
        """Return how many nanoseconds these units are said to take less in fp32."""
        return sum(self.int8_ns.get(name, 0) - self.fp32_ns.get(name, 0) for name in names)

    @property
    def whole_ns(self) -> float:
        """The time of all in fp32."""
        return sum(self.fp32_ns.values())


def by_unit(times: Sequence[OperatorTime], units: Sequence[Unit]) -> dict[str, float]:
    """Return what each unit takes by a profile.

    A node of the runtime's own, between layouts, has no name that says whose it is: all units share those by the time
    that each of them takes.
    """
    owners = {name: unit.name for unit in units for name in (*unit.tensors, *unit.nodes)}
    found = dict.fromkeys((unit.name for unit in units), 0.0)
    nobodys = 0.0
    for each in times:
        owner = owners.get(each.name) or owners.get(ADDED.sub("", each.name))
        if owner is None:
            nobodys += each.mean_ns
        else:
            found[owner] += each.mean_ns
    known = sum(found.values())
    return {name: took + (nobodys * took / known if known else 0) for name, took in found.items()}
