"""Pairs of wishes that no pack can grant together: told before a minute is spent, each with the way out."""

from collections.abc import Iterator

from packager import candidates
from packager.recipe import Prune, Quantize, Recipe, Variant, ways
from runner.manifest import Candidate, Target

ONNX_FILE = ".onnx"


def impossible(plan: Recipe, targets: tuple[Target, ...]) -> list[str]:
    """Return each pair as `one thing and another: why not; the way out`. Raises UsageError for unknown artifacts."""
    found = [*_of_the_model(plan), *_of_names(plan)]
    for variant in ways(plan):
        place = f"{variant.name}: " if variant.name else ""
        for target in targets:
            wanted = tuple(map(candidates.candidate, variant.artifacts)) or target.artifacts
            found += [f"{place}{problem}" for problem in _of_a_variant(variant, wanted, target)]
    if plan.budget is not None and not any(variant.quantize for variant in ways(plan)):
        found.append("--max-drop and no quantization: nothing is there that could cost accuracy; --quantize static")
    return list(dict.fromkeys(found))


def _of_the_model(plan: Recipe) -> Iterator[str]:
    for name in (plan.model.name, *plan.models):
        if not name.endswith(ONNX_FILE):
            continue
        why = "the model exists only as a file, and a file cannot be trained"
        if plan.model.weights is not None:
            yield f"{name} and --weights: the file has weights of its own; leave --weights out"
        if plan.train is not None and plan.train.epochs:
            yield f"{name} and training: {why}; --epochs 0"
        if plan.prune is not None or any(variant.prune for variant in plan.variants):
            yield f"{name} and pruning: {why}, which what is pruned must be; --prune 0"
        for quantize in filter(None, (plan.quantize, *(variant.quantize for variant in plan.variants))):
            yield from _of_a_file(name, quantize, why)


def _of_a_file(name: str, quantize: Quantize, why: str) -> Iterator[str]:
    if quantize.qat is not None:
        yield f"{name} and quantization-aware training: {why}; static quantization without [quantize.qat]"
    if quantize.onnx == "pt2e":
        yield f'{name} and PT2E: it starts from PyTorch\'s network, not from a file; onnx = "onnxruntime"'
    if quantize.equalize or quantize.correct_bias:
        yield f"{name} and equalization: it changes PyTorch's network, not a file; leave both out"


def _of_names(plan: Recipe) -> Iterator[str]:
    names = [variant.name for variant in plan.variants]
    for name in names:
        if not name.replace("-", "").isalnum() or not name.isascii():
            yield f"variants: {name!r} cannot be part of an artifact's name; letters, digits and hyphens"
    if len(set(names)) < len(names):
        yield "variants: two have one name; give each its own"
    if plan.prune is not None and "unpruned" in names:
        yield "variants: 'unpruned' is the name of what stands beside a pruned network; take another"


def _of_a_variant(variant: Variant, wanted: tuple[Candidate, ...], target: Target) -> Iterator[str]:
    if variant.prune is not None:
        yield from _of_pruning(variant.prune, target)
    if variant.quantize is not None:
        yield from _of_quantization(variant.quantize, wanted, target)
    int8 = [each.name for each in wanted if each.precision == "int8"]
    if variant.name and int8 and variant.quantize is None:
        yield f"{int8[0]} and no [quantize]: say how; quantize = {{}} in this variant"
    if variant.artifacts and target.device == "cuda" and int8:
        yield f"{int8[0]} and {target.name}: int8 has no fast kernels on CUDA in these formats; fp16"
    if "int8.torchscript" in int8 and target.engine is None and target.device == "cpu":
        yield f"int8.torchscript and {target.name}: the target names no quantization engine; add `engine` to its file"


def _of_pruning(prune: Prune, target: Target) -> Iterator[str]:
    if prune.method == "2:4" and target.device != "cuda":
        yield f"2:4 pruning and {target.name}: only GPUs compute with it faster; --prune-method channels"
    if prune.method != "channels" and (prune.of != "channels" or prune.amounts or prune.across_layers):
        yield f"{prune.method} pruning and of, amounts, across_layers: these are for channels; --prune-method channels"


def _of_quantization(plan: Quantize, wanted: tuple[Candidate, ...], target: Target) -> Iterator[str]:
    names = {each.name for each in wanted}
    if plan.qat is not None and plan.method == "dynamic":
        yield "QAT and dynamic quantization: its rounding is learnt for fixed ranges; --quantize static"
    if plan.qat is not None and plan.torch == "eager" and "int8.torchscript" in names:
        yield 'QAT and eager mode: the tool trains in FX graph mode; torch = "fx"'
    if plan.onnx == "pt2e" and plan.method == "dynamic":
        yield 'PT2E and dynamic quantization: --quantize static, or onnx = "onnxruntime"'
    if plan.operators == "qoperator" and (plan.onnx == "pt2e" or plan.qat is not None):
        yield 'qoperator and PT2E, which QAT goes through for ONNX: it writes QDQ; operators = "qdq"'
    if plan.operators == "qoperator" and target.activation_type == "int8" and "int8.onnx" in names:
        yield f'qoperator and {target.name}: no x86 machine can check signed activations in it; operators = "qdq"'
    if plan.sensitivity and "int8.onnx" not in names:
        yield f"sensitivity and {target.name}: it is told of int8.onnx, which is not among the artifacts; add it"
