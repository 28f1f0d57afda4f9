"""Every pair of wishes that cannot be granted is refused before anything is computed, with the way out."""

from dataclasses import replace

import pytest

import targets
from packager.compatibility import impossible
from packager.recipe import Budget, Model, Prune, Qat, Quantize, Recipe, Train, Variant
from runner.errors import UsageError
from runner.manifest import Target

X86, ARM, CUDA = (targets.load(name) for name in ("x86", "arm-qnnpack", "cuda"))
FILE = Recipe(model=Model(name="net.onnx"), quantize=Quantize())
WHY = "the model exists only as a file, and a file cannot be trained"


def variant(name: str = "other", **given: object) -> Variant:
    """Return a variant that is possible but for what is given."""
    return replace(Variant(name=name, quantize=Quantize(), artifacts=("int8.onnx",)), **given)  # type: ignore[arg-type]  # as in the test


def told(plan: Recipe, *chosen: Target) -> list[str]:
    """Return what is told of a plan for x86, or for the targets that are named."""
    return impossible(plan, chosen or (X86,))


@pytest.mark.parametrize(
    "plan",
    [
        Recipe(),
        Recipe(train=Train(), prune=Prune(), quantize=Quantize(qat=Qat(), sensitivity=True), budget=Budget(max_drop=1)),
        FILE,
        replace(FILE, train=Train(epochs=0), budget=Budget(max_drop=1.0)),
        Recipe(quantize=Quantize(method="dynamic", torch="eager")),
        Recipe(quantize=Quantize(operators="qoperator"), candidates=("fp32.onnx", "int8.torchscript")),
        Recipe(quantize=Quantize(onnx="pt2e")),
        Recipe(prune=Prune(method="channels", of="macs", amounts={"conv1": 0.5}, across_layers=True)),
        Recipe(variants=(variant("a"), variant("b-2"))),
        Recipe(candidates=("fp32.onnx",), quantize=Quantize(torch="eager", qat=Qat())),
        Recipe(candidates=("bf16.torchscript", "int8-weights.onnx", "int4-weights.onnx")),
        Recipe(candidates=("fp32.onnx",), variants=(variant(),), budget=Budget(max_drop=1.0)),
    ],
)
def test_what_can_be_granted_is_not_refused(plan: Recipe) -> None:
    assert told(plan, X86, ARM) == []


def test_what_all_targets_have_by_default_is_possible_for_all_of_them() -> None:
    plan = Recipe(train=Train(), prune=Prune(), quantize=Quantize())
    assert told(plan, *map(targets.load, targets.names())) == []


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        (
            replace(FILE, model=Model(name="net.onnx", weights="net.pth")),
            "net.onnx and --weights: the file has weights of its own; leave --weights out",
        ),
        (replace(FILE, train=Train()), f"net.onnx and training: {WHY}; --epochs 0"),
        (replace(FILE, prune=Prune()), f"net.onnx and pruning: {WHY}, which what is pruned must be; --prune 0"),
        (
            replace(FILE, variants=(variant(prune=Prune()),)),
            f"net.onnx and pruning: {WHY}, which what is pruned must be; --prune 0",
        ),
        (
            replace(FILE, quantize=Quantize(qat=Qat())),
            f"net.onnx and quantization-aware training: {WHY}; static quantization without [quantize.qat]",
        ),
        (
            replace(FILE, variants=(variant(quantize=Quantize(qat=Qat())),)),
            f"net.onnx and quantization-aware training: {WHY}; static quantization without [quantize.qat]",
        ),
        (
            replace(FILE, quantize=Quantize(onnx="pt2e")),
            'net.onnx and PT2E: it starts from PyTorch\'s network, not from a file; onnx = "onnxruntime"',
        ),
        (
            replace(FILE, quantize=Quantize(equalize=True)),
            "net.onnx and equalization: it changes PyTorch's network, not a file; leave both out",
        ),
        (
            replace(FILE, quantize=Quantize(correct_bias=True)),
            "net.onnx and equalization: it changes PyTorch's network, not a file; leave both out",
        ),
        (
            Recipe(models=("resnet8", "other.onnx"), train=Train()),
            f"other.onnx and training: {WHY}; --epochs 0",
        ),
        (
            Recipe(variants=(variant("half size"),)),
            "variants: 'half size' cannot be part of an artifact's name; letters, digits and hyphens",
        ),
        (
            Recipe(variants=(variant(""),)),
            "variants: '' cannot be part of an artifact's name; letters, digits and hyphens",
        ),
        (
            Recipe(variants=(variant("größe"),)),
            "variants: 'größe' cannot be part of an artifact's name; letters, digits and hyphens",
        ),
        (Recipe(variants=(variant(), variant())), "variants: two have one name; give each its own"),
        (
            Recipe(prune=Prune(), variants=(variant("unpruned"),)),
            "variants: 'unpruned' is the name of what stands beside a pruned network; take another",
        ),
        (
            Recipe(prune=Prune(method="2:4")),
            "2:4 pruning and x86: only GPUs compute with it faster; --prune-method channels",
        ),
        (
            Recipe(variants=(variant(prune=Prune(method="2:4")),)),
            "other: 2:4 pruning and x86: only GPUs compute with it faster; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(of="macs")),
            "l1 pruning and of, amounts, across_layers: these are for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="random", amounts={"conv1": 0.5})),
            "random pruning and of, amounts, across_layers: these are for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="l1-global", across_layers=True)),
            "l1-global pruning and of, amounts, across_layers: these are for channels; --prune-method channels",
        ),
        (
            Recipe(quantize=Quantize(method="dynamic", qat=Qat())),
            "QAT and dynamic quantization: its rounding is learnt for fixed ranges; --quantize static",
        ),
        (
            Recipe(quantize=Quantize(torch="eager", qat=Qat())),
            'QAT and eager mode: the tool trains in FX graph mode; torch = "fx"',
        ),
        (
            Recipe(quantize=Quantize(method="dynamic", onnx="pt2e")),
            'PT2E and dynamic quantization: --quantize static, or onnx = "onnxruntime"',
        ),
        (
            Recipe(quantize=Quantize(operators="qoperator", qat=Qat())),
            'qoperator and PT2E, which QAT goes through for ONNX: it writes QDQ; operators = "qdq"',
        ),
        (
            Recipe(quantize=Quantize(operators="qoperator", onnx="pt2e")),
            'qoperator and PT2E, which QAT goes through for ONNX: it writes QDQ; operators = "qdq"',
        ),
        (
            Recipe(candidates=("fp32.onnx",), quantize=Quantize(sensitivity=True)),
            "sensitivity and x86: it is told of int8.onnx, which is not among the artifacts; add it",
        ),
        (
            Recipe(variants=(variant(quantize=None),)),
            "other: int8.onnx and no [quantize]: say how; quantize = {} in this variant",
        ),
        (
            Recipe(budget=Budget(max_drop=1.0)),
            "--max-drop and no quantization: nothing is there that could cost accuracy; --quantize static",
        ),
    ],
)
def test_a_pair_that_cannot_be_granted_is_told_with_the_way_out(plan: Recipe, expected: str) -> None:
    assert told(plan) == [expected]


def test_two_of_four_is_for_gpus() -> None:
    assert told(Recipe(prune=Prune(method="2:4")), CUDA) == []
    assert told(Recipe(prune=Prune(method="2:4")), X86, CUDA, ARM) == [
        "2:4 pruning and x86: only GPUs compute with it faster; --prune-method channels",
        "2:4 pruning and arm-qnnpack: only GPUs compute with it faster; --prune-method channels",
    ]


def test_int8_by_name_for_cuda_is_refused_and_what_the_target_has_itself_is_not() -> None:
    assert told(Recipe(quantize=Quantize()), CUDA) == []
    assert told(Recipe(candidates=("int8.onnx",), quantize=Quantize()), CUDA) == [
        "int8.onnx and cuda: int8 has no fast kernels on CUDA in these formats; fp16"
    ]


def test_int8_torchscript_needs_the_engine_of_the_target() -> None:
    bare = replace(X86, name="bare", engine=None)
    assert told(Recipe(candidates=("int8.torchscript",), quantize=Quantize()), bare) == [
        "int8.torchscript and bare: the target names no quantization engine; add `engine` to its file"
    ]
    assert told(Recipe(candidates=("int8.onnx",), quantize=Quantize()), bare) == []


def test_every_pair_is_told_once_however_many_targets_there_are() -> None:
    wrong = Recipe(
        model=Model(name="net.onnx", weights="a.pth"),
        train=Train(),
        quantize=Quantize(method="dynamic", qat=Qat()),
        variants=(variant("a"), variant("a")),
    )
    assert told(wrong, X86, ARM) == [
        "net.onnx and --weights: the file has weights of its own; leave --weights out",
        f"net.onnx and training: {WHY}; --epochs 0",
        f"net.onnx and quantization-aware training: {WHY}; static quantization without [quantize.qat]",
        "variants: two have one name; give each its own",
        "QAT and dynamic quantization: its rounding is learnt for fixed ranges; --quantize static",
    ]


def test_an_artifact_that_there_is_not_is_told_as_such() -> None:
    for plan in (Recipe(candidates=("int8.onx",)), Recipe(variants=(variant(artifacts=("int8.onx",)),))):
        with pytest.raises(UsageError, match=r"^int8\.onx: there is no such artifact; did you mean 'int8\.onnx'\?$"):
            told(plan)


def test_signed_activations_in_integer_operators_are_refused() -> None:
    plan = Recipe(quantize=Quantize(operators="qoperator"))
    assert told(plan, X86, ARM) == [
        'qoperator and arm-qnnpack: no x86 machine can check signed activations in it; operators = "qdq"'
    ]
