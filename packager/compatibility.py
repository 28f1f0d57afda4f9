"""Pairs of wishes that no pack can grant together: told before a minute is spent, each with the way out."""

from collections.abc import Iterator, Mapping

from packager import candidates, heard
from packager.candidates import REFERENCE
from packager.recipe import ONNX_FILE, Prune, Quantize, Recipe, Variant, ways
from runner.manifest import INTEGERS, Candidate, Format, Target

TWO_OF_FOUR = 0.5
OF_A_NETWORK: Mapping[Format, str] = {
    "torchscript": "TorchScript",
    "litert": "LiteRT",
    "executorch": "ExecuTorch",
    "aotinductor": "AOTInductor",
}
"""What is not made of an ONNX file, and what it is called."""
CPU_ALONE: frozenset[Format] = frozenset({"executorch", "litert", "openvino", "aotinductor"})
"""Formats whose runtime has no use for a GPU."""


def unheard_wish(method: str | None, plan: Recipe, targets: tuple[Target, ...]) -> list[str]:
    """Return what is wrong with a method of quantization that was asked for in so many words: nothing is quantized."""
    wanted = [each for way in ways(plan) for target in targets for each in _wanted(way, target)]
    if method in (None, "none") or any(each.precision in INTEGERS for each in wanted):
        return []
    names = ", ".join(dict.fromkeys(each.name for each in wanted))
    return [f"--quantize {method} and {names}: none of them holds integers; {_add(('method',), targets)}"]


def impossible(plan: Recipe, targets: tuple[Target, ...]) -> list[str]:
    """Return each pair as `one thing and another: why not; the way out`. Raises UsageError for unknown artifacts."""
    found = [*_of_the_model(plan), *_of_names(plan), *_of_candidates(plan)]
    for variant in ways(plan):
        place = f"{variant.name}: " if variant.name else ""
        for target in targets:
            found += [f"{place}{problem}" for problem in _of_a_variant(variant, _wanted(variant, target), target)]
    found += [*_of_a_budget(plan, targets), *_of_unheard(plan, targets)]
    return list(dict.fromkeys(found))


def _wanted(variant: Variant, target: Target) -> tuple[Candidate, ...]:
    return candidates.wanted(variant.artifacts, target)


def _of_candidates(plan: Recipe) -> Iterator[str]:
    """Yield what is wrong with the artifacts that the recipe itself names, or --candidates."""
    own = candidates.named(plan.candidates)
    if not own or len(own) < len(plan.candidates):
        return
    names = [each.name for each in own]
    if REFERENCE.name not in names:
        added = ",".join((REFERENCE.name, *names))
        yield f"--candidates without {REFERENCE.name}: the others are held against it; --candidates {added}"
    int8 = [each.name for each in own if each.precision == "int8"]
    if int8 and plan.quantize is None:
        yield f"{int8[0]} and no [quantize]: nothing says how; --quantize static"
    if plan.quantize is not None and plan.variants and not any(each.precision in INTEGERS for each in own):
        added = ",".join((*names, "int8.onnx"))
        yield (
            f"[quantize] and {', '.join(names)}: it is for the recipe's own artifacts, of which none is int8, and the "
            f"variants have their own; --candidates {added}, or leave it out"
        )


def _of_a_budget(plan: Recipe, targets: tuple[Target, ...]) -> Iterator[str]:
    if plan.budget is None:
        return
    quantizes = any(variant.quantize for variant in ways(plan))
    for target in targets:
        if any(_integers(variant, target) for variant in ways(plan)):
            continue
        if not quantizes:
            why = "a budget is for integer artifacts, and none is there"
            yield f"--max-drop and no quantization: {why}; --quantize static"
        else:
            what = ", ".join(plan.candidates) or target.name
            out = "another target" if target.device == "cuda" else "add int8.onnx to --candidates"
            yield f"--max-drop and {what}: a budget is for integer artifacts, and none is there; {out}, or leave it out"


def _of_unheard(plan: Recipe, targets: tuple[Target, ...]) -> Iterator[str]:
    for variant in ways(plan):
        names = sorted({each.name for target in targets for each in _wanted(variant, target)})
        for keys in _alike(heard.unheard(variant.quantize or Quantize(), names)):
            yield f"{', '.join(keys)} and {', '.join(names)}: only {heard.hearers(keys)} of it; {_add(keys, targets)}"


def _alike(keys: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the keys together that the same artifacts hear of."""
    for hearers in dict.fromkeys(heard.HEARD_BY[key] for key in keys):
        yield tuple(key for key in keys if heard.HEARD_BY[key] == hearers)


def _add(keys: tuple[str, ...], targets: tuple[Target, ...]) -> str:
    if not any(target.device == "cpu" for target in targets):
        return "another target, or leave it out"
    hearers = heard.HEARD_BY[keys[0]]
    return f"add {'int8.onnx' if 'int8.onnx' in hearers else heard.usual(hearers)[0]} to --candidates"


def _integers(variant: Variant, target: Target) -> bool:
    """Say whether a variant has an artifact for a target that a budget could be for."""
    found = {each.precision for each in _wanted(variant, target)} & INTEGERS
    return bool(found if variant.quantize else found - {"int8"})


def _of_the_model(plan: Recipe) -> Iterator[str]:
    if plan.models and plan.model.weights is not None:
        yield f"--weights and {len(plan.models)} models: weights are of one; --model {plan.models[0]}"
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
        for artifact in candidates.named(each for variant in ways(plan) for each in variant.artifacts):
            if artifact.format in OF_A_NETWORK:
                title, other = OF_A_NETWORK[artifact.format], f"{artifact.precision}.onnx"
                yield f"{name} and {artifact.name}: {title} is made of PyTorch's network, not of a file; {other}"


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
    if variant.artifacts and "int8.onnx" in int8 and target.machine == "x86_64" and target.activation_type == "int8":
        yield f"int8.onnx and {target.name}: int8 activations are slow on x86; activation_type = 'uint8' in its file"
    yield from _of_runtimes(variant, wanted, target)
    if "int8.torchscript" in int8 and target.engine is None and target.device == "cpu":
        yield f"int8.torchscript and {target.name}: the target names no quantization engine; add `engine` to its file"


def _of_runtimes(variant: Variant, wanted: tuple[Candidate, ...], target: Target) -> Iterator[str]:
    """Yield what the runtime of a format cannot do with what is asked for."""
    for each in wanted:
        if variant.artifacts and target.device == "cuda" and each.format in CPU_ALONE:
            yield f"{each.name} and {target.name}: its runtime computes on a CPU alone; fp32.onnx"
        if each.name == "int8.executorch" and variant.quantize is not None and variant.quantize.method == "dynamic":
            yield f"{each.name} and dynamic quantization: its ranges are fixed; --quantize static, or leave it out"


def _of_pruning(prune: Prune, target: Target) -> Iterator[str]:
    if prune.method == "2:4":
        if target.device != "cuda":
            yield f"2:4 pruning and {target.name}: only GPUs compute with it faster; --prune-method channels"
        if prune.amount != TWO_OF_FOUR:
            yield f"2:4 pruning and {prune.amount:.0%}: of four weights two go; --prune 0.5, or --prune-method l1"
    if prune.method != "channels" and (given := _of_channels_alone(prune)):
        yield f"{prune.method} pruning and {', '.join(given)}: only for channels; --prune-method channels"
    if prune.method == "2:4":
        if prune.steps > 1 or prune.schedule != "one-shot":
            yield '2:4 pruning and several steps: all goes in one; schedule = "one-shot", steps = 1'
    elif prune.steps > 1 and prune.schedule == "one-shot":
        yield f'one-shot pruning and {prune.steps} steps: it has one; schedule = "linear" or "cubic", or steps = 1'
    elif prune.steps == 1 and prune.schedule != "one-shot":
        yield f"{prune.schedule} pruning and one step: all goes in it at once; more steps, such as steps = 4"
    elif 0 < prune.fine_tune_epochs < prune.steps:
        epochs = f"{prune.fine_tune_epochs} epoch{'s' if prune.fine_tune_epochs > 1 else ''} of fine-tuning"
        yield f"{prune.steps} steps and {epochs}: each is followed by one at least; fine_tune_epochs = {prune.steps}"


def _of_channels_alone(prune: Prune) -> list[str]:
    """Return the keys that are set and mean nothing where single weights go."""
    usual = Prune()
    given = {
        "of": prune.of != usual.of,
        "importance": prune.importance != usual.importance,
        "across_layers": prune.across_layers,
        "round_to": prune.round_to != usual.round_to,
        "amounts": bool(prune.amounts),
    }
    return [key for key, is_given in given.items() if is_given]


def _of_quantization(plan: Quantize, wanted: tuple[Candidate, ...], target: Target) -> Iterator[str]:
    names = {each.name for each in wanted}
    if plan.qat is not None and plan.method == "dynamic":
        yield "QAT and dynamic quantization: its rounding is learnt for fixed ranges; --quantize static"
    if plan.qat is not None and plan.ranges != Quantize().ranges:
        yield f"QAT and {plan.ranges} ranges: it learns its own, by moving average; --ranges min-max"
    if plan.qat is not None and plan.correct_bias:
        yield "QAT and correct_bias: it learns its biases; correct_bias = false"
    if plan.method == "dynamic" and (static := [key for key in heard.given(plan) if key in heard.STATIC_ONLY]):
        keys, way_out = ", ".join(static), "--quantize static, or leave this out"
        yield f"dynamic quantization and {keys}: for static quantization alone; {way_out}"
    if plan.percentile != Quantize().percentile and plan.ranges != "percentile":
        yield f"percentile and {plan.ranges} ranges: it is for no others; --ranges percentile"
    if plan.qat is not None and plan.torch == "eager" and "int8.torchscript" in names:
        yield 'QAT and eager mode: the tool trains in FX graph mode; torch = "fx"'
    if plan.onnx == "pt2e" and plan.method == "dynamic":
        yield 'PT2E and dynamic quantization: --quantize static, or onnx = "onnxruntime"'
    yield from _of_operators(plan, names, target)


def _of_operators(plan: Quantize, names: set[str], target: Target) -> Iterator[str]:
    if plan.operators == "qoperator" and (plan.onnx == "pt2e" or plan.qat is not None):
        yield 'qoperator and PT2E, which QAT goes through for ONNX: it writes QDQ; operators = "qdq"'
    if "int8-qoperator.onnx" in names and target.activation_type == "int8":
        yield f"int8-qoperator.onnx and {target.name}: no x86 machine can check signed activations in it; int8.onnx"
    if plan.operators == "qoperator" and target.activation_type == "int8" and "int8.onnx" in names:
        yield f'qoperator and {target.name}: no x86 machine can check signed activations in it; operators = "qdq"'
