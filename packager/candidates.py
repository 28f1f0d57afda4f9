"""Which artifacts can be made at all, by their names."""

from collections.abc import Iterable
from typing import get_args

from runner.errors import UsageError, nearest
from runner.manifest import Candidate, Format, Precision, Style, Target

QUICK, ALL = "quick", "all"
"""In the place of names: those that the target makes by itself, and with them those that may be faster there."""

STYLES: dict[tuple[Precision, Format], tuple[Style, ...]] = {
    ("fp32", "onnx"): ("",),
    ("fp16", "onnx"): ("",),
    ("int8", "onnx"): ("", "qoperator", "mixed", "optimised"),
    ("int8-weights", "onnx"): ("",),
    ("int4-weights", "onnx"): ("",),
    ("fp32", "torchscript"): ("",),
    ("fp16", "torchscript"): ("",),
    ("bf16", "torchscript"): ("",),
    ("int8", "torchscript"): ("", "onednn"),
    ("fp32", "litert"): ("",),
    ("int8", "litert"): ("",),
    ("fp32", "openvino"): ("",),
    ("fp16", "openvino"): ("",),
    ("bf16", "openvino"): ("",),
    ("int8", "openvino"): ("",),
    ("fp32", "executorch"): ("",),
    ("int8", "executorch"): ("",),
    ("fp32", "aotinductor"): ("",),
    ("bf16", "aotinductor"): ("",),
    ("int8", "aotinductor"): ("",),
}
"""What can be made of each pair of a precision and a format: the usual one, and other ways that have a name."""

NAMES = {
    each.name: each
    for each in (
        Candidate(precision=precision, format=form, style=style)
        for (precision, form), styles in STYLES.items()
        for style in styles
    )
}

REFERENCE = NAMES["fp32.onnx"]
"""What every bundle has of its own network, and what the others are held against."""

OPTIMISED = NAMES["int8-optimised.onnx"]
"""Made where a search by measured latency is asked for, and has found what stays in fp32."""

IMPOSSIBLE = {
    "bf16.onnx": "ONNX Runtime has no bfloat16 kernels for convolutions on a CPU; bf16.torchscript has them",
    "int8-weights.torchscript": "TorchScript keeps no integer weights for float arithmetic; int8-weights.onnx does",
    "int4-weights.torchscript": "TorchScript keeps no integer weights for float arithmetic; int4-weights.onnx does",
}
"""Why some pairs that one may think of are none, and what to take instead."""


def candidate(name: str) -> Candidate:
    """Return the candidate of a name such as `int8.onnx`. Raises UsageError."""
    if name in IMPOSSIBLE:
        raise UsageError(IMPOSSIBLE[name], where=name)
    if name not in NAMES and (others := _of_its_format(name)):
        raise UsageError(f"nothing makes it; {' or '.join(others)}", where=name)
    if name not in NAMES:
        hint = nearest(name, NAMES) or f"there are {', '.join(NAMES)}"
        raise UsageError(f"there is no such artifact; {hint}", where=name)
    return NAMES[name]


def _of_its_format(name: str) -> list[str]:
    """Return what can be made in a format, by the name of a pair that cannot; nothing where it is no such name."""
    precision, _, form = name.partition(".")
    return [each.name for each in NAMES.values() if precision in get_args(Precision) and each.format == form]


def named(names: Iterable[str]) -> tuple[Candidate, ...]:
    """Return the candidates that are named one by one, without those that only a target knows. Raises UsageError."""
    return tuple(candidate(name) for name in names if name not in (QUICK, ALL))


def wanted(names: Iterable[str], target: Target) -> tuple[Candidate, ...]:
    """Return what is to be made for a target: what is named, by default what it makes by itself. Raises UsageError."""
    given = tuple(names)
    everything = {QUICK: target.artifacts, ALL: (*target.artifacts, *target.more)}
    found = [each for name in given or (QUICK,) for each in everything.get(name) or (candidate(name),)]
    return tuple(dict.fromkeys(found))
