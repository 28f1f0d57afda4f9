"""Every pair of wishes that cannot be granted is refused before anything is computed, with the way out."""

from dataclasses import replace

import pytest

import targets
from packager import recipe_file
from packager.compatibility import impossible, unheard_wish
from packager.options import Options, resolve
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
        Recipe(quantize=Quantize(method="dynamic", keep_fp32=("linear",), per_channel=True)),
        Recipe(quantize=Quantize(onnx="pt2e")),
        Recipe(prune=Prune(method="channels", of="macs", amounts={"conv1": 0.5}, across_layers=True)),
        Recipe(variants=(variant("a"), variant("b-2"))),
        Recipe(candidates=("fp32.onnx", "bf16.torchscript", "int8-weights.onnx", "int4-weights.onnx")),
        Recipe(candidates=("fp32.onnx",), variants=(variant(),), budget=Budget(max_drop=1.0)),
        Recipe(candidates=("fp32.onnx", "int4-weights.onnx"), quantize=Quantize(), budget=Budget(max_drop=1.0)),
        Recipe(candidates=("fp32.onnx",), quantize=Quantize()),
        Recipe(candidates=("fp32.onnx", "int8.onnx"), quantize=Quantize(), variants=(variant(),)),
        Recipe(quantize=Quantize(), variants=(variant(),)),
        Recipe(prune=Prune(schedule="cubic", steps=3, fine_tune_epochs=3)),
        Recipe(prune=Prune(schedule="cubic", steps=3, fine_tune_epochs=0)),
        Recipe(prune=Prune(method="channels", importance="taylor", round_to=4)),
        Recipe(quantize=Quantize(ranges="mse", equalize=True, correct_bias=True)),
        Recipe(quantize=Quantize(qat=Qat(), equalize=True)),
        Recipe(quantize=Quantize(ranges="percentile", percentile=99.0)),
        Recipe(candidates=("fp32.onnx", "int8-weights.onnx"), quantize=Quantize(equalize=True)),
        Recipe(candidates=("fp32.onnx", "int8-weights.onnx"), budget=Budget(max_drop=1.0)),
    ],
)
def test_what_can_be_granted_is_not_refused(plan: Recipe) -> None:
    assert told(plan, X86, ARM) == []


def test_what_calibration_needs_is_asked_of_one_target_of_all() -> None:
    plan = Recipe(quantize=Quantize(ranges="mse"))
    hear = "int8.aotinductor, int8.executorch, int8.litert, int8.onnx and int8.torchscript hear of it"
    why = f"only {hear}; another target, or leave it out"
    assert told(plan, CUDA, X86) == []
    assert told(plan, CUDA) == [f"ranges and {', '.join(sorted(each.name for each in CUDA.artifacts))}: {why}"]


def test_a_method_that_is_asked_for_and_makes_nothing_is_refused() -> None:
    plan = resolve(Options(quantize="static"))
    assert unheard_wish("static", plan, (X86, CUDA)) == unheard_wish(None, plan, (CUDA,)) == []
    names = ", ".join(each.name for each in CUDA.artifacts)
    assert unheard_wish("static", plan, (CUDA,)) == [
        f"--quantize static and {names}: none of them holds integers; another target, or leave it out"
    ]
    only = resolve(Options(quantize="static", candidates=("fp32.onnx",)))
    assert unheard_wish("static", only, (X86,)) == [
        "--quantize static and fp32.onnx: none of them holds integers; add int8.onnx to --candidates"
    ]


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
            "l1 pruning and of: only for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="random", amounts={"conv1": 0.5})),
            "random pruning and amounts: only for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="l1-global", across_layers=True)),
            "l1-global pruning and across_layers: only for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(importance="taylor")),
            "l1 pruning and importance: only for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="random", importance="l2", round_to=1)),
            "random pruning and importance, round_to: only for channels; --prune-method channels",
        ),
        (
            Recipe(variants=(variant(prune=Prune(importance="taylor")),)),
            "other: l1 pruning and importance: only for channels; --prune-method channels",
        ),
        (
            Recipe(prune=Prune(method="channels", steps=3)),
            'one-shot pruning and 3 steps: it has one; schedule = "linear" or "cubic", or steps = 1',
        ),
        (
            Recipe(prune=Prune(schedule="cubic")),
            "cubic pruning and one step: all goes in it at once; more steps, such as steps = 4",
        ),
        (
            Recipe(quantize=Quantize(qat=Qat(), ranges="mse")),
            "QAT and mse ranges: it learns its own, by moving average; --ranges min-max",
        ),
        (
            Recipe(variants=(variant(quantize=Quantize(qat=Qat(), ranges="entropy")),)),
            "other: QAT and entropy ranges: it learns its own, by moving average; --ranges min-max",
        ),
        (
            Recipe(quantize=Quantize(method="dynamic", ranges="mse")),
            "dynamic quantization and ranges: for static quantization alone; --quantize static, or leave this out",
        ),
        (
            Recipe(quantize=Quantize(method="dynamic", equalize=True, correct_bias=True)),
            "dynamic quantization and equalize, correct_bias: for static quantization alone; --quantize static, or "
            "leave this out",
        ),
        (
            Recipe(quantize=Quantize(method="dynamic", torch="eager", operators="qoperator", symmetric=True)),
            "dynamic quantization and torch, operators, symmetric: for static quantization alone; --quantize static, "
            "or leave this out",
        ),
        (
            Recipe(quantize=Quantize(qat=Qat(), correct_bias=True)),
            "QAT and correct_bias: it learns its biases; correct_bias = false",
        ),
        (
            Recipe(prune=Prune(schedule="linear", steps=4)),
            "4 steps and 2 epochs of fine-tuning: each is followed by one at least; fine_tune_epochs = 4",
        ),
        (
            Recipe(candidates=("fp32.onnx", "int8.torchscript"), quantize=Quantize(operators="qoperator")),
            "operators and fp32.onnx, int8.torchscript: only int8.onnx hears of it; add int8.onnx to --candidates",
        ),
        (
            Recipe(candidates=("fp32.onnx", "int8.onnx"), quantize=Quantize(torch="eager")),
            "torch and fp32.onnx, int8.onnx: only int8.torchscript hears of it; add int8.torchscript to --candidates",
        ),
        (
            Recipe(candidates=("fp32.onnx",), quantize=Quantize(keep_fp32=("linear",))),
            "keep_fp32 and fp32.onnx: only int4-weights.onnx, int8-weights.onnx, int8.aotinductor, int8.executorch, "
            "int8.litert, int8.onnx, int8.openvino and int8.torchscript hear of it; add int8.onnx to --candidates",
        ),
        (
            Recipe(candidates=("fp32.onnx", "int8-weights.onnx"), quantize=Quantize(qat=Qat())),
            "qat and fp32.onnx, int8-weights.onnx: only int8.executorch, int8.onnx, int8.openvino and int8.torchscript "
            "hear of it; add int8.onnx to --candidates",
        ),
        (
            Recipe(models=("resnet8", "small_cnn"), model=Model(weights="pretrained")),
            "--weights and 2 models: weights are of one; --model resnet8",
        ),
        (
            replace(FILE, candidates=("fp32.onnx", "int8.torchscript")),
            "net.onnx and int8.torchscript: TorchScript is made of PyTorch's network, not of a file; int8.onnx",
        ),
        (
            Recipe(candidates=("fp32.onnx", "int8.onnx")),
            "int8.onnx and no [quantize]: nothing says how; --quantize static",
        ),
        (
            Recipe(candidates=("int8.onnx",), quantize=Quantize()),
            "--candidates without fp32.onnx: the others are held against it; --candidates fp32.onnx,int8.onnx",
        ),
        (
            Recipe(candidates=("fp32.onnx", "fp32.torchscript"), quantize=Quantize(), variants=(variant(),)),
            "[quantize] and fp32.onnx, fp32.torchscript: it is for the recipe's own artifacts, of which none is int8, "
            "and the variants have their own; --candidates fp32.onnx,fp32.torchscript,int8.onnx, or leave it out",
        ),
        (
            Recipe(candidates=("fp32.onnx", "fp16.onnx"), quantize=Quantize(), budget=Budget(max_drop=1.0)),
            "--max-drop and fp32.onnx, fp16.onnx: a budget is for integer artifacts, and none is there; add int8.onnx "
            "to --candidates, or leave it out",
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
            Recipe(quantize=Quantize(percentile=99.0)),
            "percentile and min-max ranges: it is for no others; --ranges percentile",
        ),
        (
            Recipe(
                candidates=("fp32.onnx", "int8-weights.onnx"), quantize=Quantize(ranges="percentile", percentile=99.0)
            ),
            "ranges, percentile and fp32.onnx, int8-weights.onnx: only int8.aotinductor, int8.executorch, int8.litert, "
            "int8.onnx and int8.torchscript hear of it; add int8.onnx to --candidates",
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
            "sensitivity and fp32.onnx: only int8.onnx hears of it; add int8.onnx to --candidates",
        ),
        (
            Recipe(variants=(variant(quantize=None),)),
            "other: int8.onnx and no [quantize]: say how; quantize = {} in this variant",
        ),
        (
            Recipe(budget=Budget(max_drop=1.0)),
            "--max-drop and no quantization: a budget is for integer artifacts, and none is there; --quantize static",
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


def test_two_of_four_has_one_amount_and_one_step() -> None:
    assert told(Recipe(prune=Prune(method="2:4", amount=0.3)), CUDA) == [
        "2:4 pruning and 30%: of four weights two go; --prune 0.5, or --prune-method l1"
    ]
    assert told(Recipe(prune=Prune(method="2:4", schedule="linear", steps=3)), CUDA) == [
        '2:4 pruning and several steps: all goes in one; schedule = "one-shot", steps = 1'
    ]
    assert told(Recipe(prune=Prune(method="2:4", schedule="linear")), CUDA) == [
        '2:4 pruning and several steps: all goes in one; schedule = "one-shot", steps = 1'
    ]


def test_a_budget_is_refused_for_a_target_that_has_no_integers() -> None:
    plan = Recipe(quantize=Quantize(), budget=Budget(max_drop=1.0))
    assert told(plan, X86, CUDA) == [
        "--max-drop and cuda: a budget is for integer artifacts, and none is there; another target, or leave it out"
    ]


def test_signed_activations_are_refused_for_int8_onnx_by_name_on_x86() -> None:
    signed = replace(X86, name="signed", activation_type="int8")
    assert told(Recipe(candidates=("fp32.onnx", "int8.onnx"), quantize=Quantize()), signed, ARM) == [
        "int8.onnx and signed: int8 activations are slow on x86; activation_type = 'uint8' in its file"
    ]
    assert told(Recipe(candidates=("fp32.onnx", "int8.torchscript"), quantize=Quantize()), signed) == []


@pytest.mark.parametrize("name", recipe_file.names())
def test_the_recipes_that_come_along_can_be_granted(name: str) -> None:
    assert told(recipe_file.load(name), X86, ARM) == []


def test_another_quantization_of_a_recipe_of_variants_is_refused() -> None:
    plan = resolve(Options(recipe="wide-cnn", quantize="static"))
    assert told(plan) == [
        "[quantize] and fp32.onnx, fp32.torchscript: it is for the recipe's own artifacts, of which none is int8, "
        "and the variants have their own; --candidates fp32.onnx,fp32.torchscript,int8.onnx, or leave it out"
    ]


def test_the_importance_of_channels_alone_is_told_to_prune_channels() -> None:
    assert told(resolve(Options(settings=("prune.importance=taylor",)))) == [
        "l1 pruning and importance: only for channels; --prune-method channels"
    ]
    assert told(resolve(Options(prune_method="channels", settings=("prune.importance=taylor",)))) == []


def test_int8_by_name_for_cuda_is_refused_and_what_the_target_has_itself_is_not() -> None:
    assert told(Recipe(quantize=Quantize()), CUDA) == []
    assert told(
        Recipe(
            candidates=(
                "fp32.onnx",
                "int8.onnx",
            ),
            quantize=Quantize(),
        ),
        CUDA,
    ) == ["int8.onnx and cuda: int8 has no fast kernels on CUDA in these formats; fp16"]


def test_executorch_is_of_pytorchs_network_on_a_cpu_with_fixed_ranges() -> None:
    both = ("fp32.onnx", "fp32.executorch", "int8.executorch")
    assert told(Recipe(candidates=both[:2]), CUDA) == [
        "fp32.executorch and cuda: its runtime computes on a CPU alone; fp32.onnx"
    ]
    assert told(Recipe(candidates=both, quantize=Quantize(method="dynamic"))) == [
        "int8.executorch and dynamic quantization: its ranges are fixed; --quantize static, or leave it out"
    ]
    assert told(Recipe(candidates=both[:2], model=Model(name="net.onnx"))) == [
        "net.onnx and fp32.executorch: ExecuTorch is made of PyTorch's network, not of a file; fp32.onnx"
    ]
    assert told(Recipe(candidates=both, quantize=Quantize())) == []


def test_int8_torchscript_needs_the_engine_of_the_target() -> None:
    bare = replace(X86, name="bare", engine=None)
    assert told(
        Recipe(
            candidates=(
                "fp32.onnx",
                "int8.torchscript",
            ),
            quantize=Quantize(),
        ),
        bare,
    ) == ["int8.torchscript and bare: the target names no quantization engine; add `engine` to its file"]
    assert (
        told(
            Recipe(
                candidates=(
                    "fp32.onnx",
                    "int8.onnx",
                ),
                quantize=Quantize(),
            ),
            bare,
        )
        == []
    )


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
