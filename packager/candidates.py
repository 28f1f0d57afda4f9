"""Which artifacts can be made at all: pairs of a precision and a format, by their names."""

from typing import get_args

from runner.errors import UsageError, nearest
from runner.manifest import Candidate, Format, Precision

NAMES = {
    each.name: each
    for each in (
        Candidate(precision=precision, format=form) for precision in get_args(Precision) for form in get_args(Format)
    )
}
"""Every pair, also those that nothing can make."""

REFERENCE = NAMES["fp32.onnx"]
"""What every bundle has of its own network, and what the others are held against."""

IMPOSSIBLE = {
    "bf16.onnx": "ONNX Runtime has no bfloat16 kernels for convolutions on a CPU; bf16.torchscript has them",
    "int8-weights.torchscript": "TorchScript keeps no integer weights for float arithmetic; int8-weights.onnx does",
    "int4-weights.torchscript": "TorchScript keeps no integer weights for float arithmetic; int4-weights.onnx does",
}
"""Why some pairs are none, and what to take instead."""


def candidate(name: str) -> Candidate:
    """Return the candidate of a name such as `int8.onnx`. Raises UsageError."""
    if name in IMPOSSIBLE:
        raise UsageError(IMPOSSIBLE[name], where=name)
    if name not in NAMES:
        known = [each for each in NAMES if each not in IMPOSSIBLE]
        hint = nearest(name, known) or f"there are {', '.join(known)}"
        raise UsageError(f"there is no such artifact; {hint}", where=name)
    return NAMES[name]
