"""Which artifacts hear of which key of [quantize]: a key that is set and that none of them hears of is told."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from types import MappingProxyType

from packager.candidates import NAMES, OPTIMISED
from packager.recipe import Quantize
from runner.manifest import INTEGERS

ONNX = frozenset({"int8.onnx", "int8-qoperator.onnx", "int8-mixed.onnx", OPTIMISED.name})
TORCHSCRIPT = frozenset({"int8.torchscript", "int8-onednn.torchscript"})
LITERT = frozenset({"int8.litert"})
BY_NNCF = frozenset({"int8.openvino"})
"""Static, with the ends of what calibration saw for ranges."""
INT8 = ONNX | TORCHSCRIPT | {"int8.aotinductor", "int8.executorch"}
TRAINED = TORCHSCRIPT | {"int8.onnx", "int8.executorch"} | BY_NNCF
"""What quantization-aware training can make."""
ALL = frozenset(name for name, each in NAMES.items() if each.precision in INTEGERS)
HEARD_BY: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "method": TORCHSCRIPT | {"int8.onnx", OPTIMISED.name, "int8.executorch"} | LITERT,
        "torch": TORCHSCRIPT,
        "onnx": frozenset({"int8.onnx"}),
        "operators": frozenset({"int8.onnx", "int8-mixed.onnx", OPTIMISED.name}),
        "ranges": INT8 | LITERT,
        "percentile": INT8 | LITERT,
        "per_channel": INT8 | LITERT | BY_NNCF,
        "symmetric": INT8 | BY_NNCF,
        "equalize": ALL,
        "correct_bias": INT8 | LITERT | BY_NNCF,
        "keep_fp32": ALL,
        "sensitivity": ONNX - {OPTIMISED.name},
        "qat": TRAINED,
    }
)
STATIC_ONLY = ("torch", "operators", "ranges", "symmetric", "equalize", "correct_bias")
"""What means nothing where activations are quantized as they come. PT2E has a sentence of its own."""


def given(plan: Quantize) -> tuple[str, ...]:
    """Return the keys that are not as usual."""
    usual = Quantize()
    return tuple(each.name for each in fields(plan) if getattr(plan, each.name) != getattr(usual, each.name))


def unheard(plan: Quantize, artifacts: Iterable[str]) -> tuple[str, ...]:
    """Return the keys that are set, and that none of these artifacts hears of."""
    names = frozenset(artifacts)
    return tuple(key for key in given(plan) if not HEARD_BY[key] & names)


def of_use_to(artifact: str, plan: Quantize) -> Quantize:
    """Return the plan with the keys that this artifact does not hear of as usual."""
    usual, deaf_to = Quantize(), unheard(plan, [artifact])
    return replace(plan, **{key: getattr(usual, key) for key in deaf_to})


def hearers(keys: Sequence[str]) -> str:
    """Return, in words, the artifacts that hear of all these keys."""
    names = usual(frozenset[str].intersection(*(HEARD_BY[key] for key in keys)))
    *others, last = names
    return f"{', '.join(others)} and {last} hear" if others else f"{last} hears"


def usual(names: Iterable[str]) -> list[str]:
    """Return those that are made in the usual way: where these hear of a key, so do most of the other ways."""
    return sorted(name for name in names if not NAMES[name].style)
