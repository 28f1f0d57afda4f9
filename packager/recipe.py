"""What to do to a model. A table that is absent is a step that is not run."""

from dataclasses import dataclass, field
from typing import Literal

from runner.render import units
from runner.report import Effort, Objective

Optimizer = Literal["adamw", "sgd"]
Schedule = Literal["one-cycle", "plateau"]
Augment = Literal["none", "flip", "shift", "shift-flip"]
PruneMethod = Literal["l1", "l1-global", "random", "2:4", "channels"]
Share = Literal["channels", "macs", "parameters"]
Importance = Literal["l1", "l2", "batch-norm", "taylor", "random"]
PruneSchedule = Literal["one-shot", "linear", "cubic"]
QuantizeMethod = Literal["static", "dynamic"]
TorchTechnique = Literal["fx", "eager"]
OnnxTechnique = Literal["onnxruntime", "pt2e"]
OnnxOperators = Literal["qdq", "qoperator"]
Ranges = Literal["min-max", "moving-average", "entropy", "percentile", "mse"]
Compute = Literal["auto", "cpu", "cuda"]
Arithmetic = Literal["auto", "fp32", "bf16", "fp16"]
ONNX_FILE = ".onnx"
"""How the name of a model ends that exists only as a file."""
LARGEST_SEED = (1 << 63) - 1
SMALLEST_SIDE = 8
"""Of an image, in pixels: the least that a network can use."""
MOST_THREADS = 1024
"""Beyond what any machine has, a runtime spends its minutes on starting them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Model:
    """The network, and where its weights come from."""

    name: str = "wide_cnn"
    """A name of `pack models`, `torchvision:NAME`, `path/to/net.py:Callable`, or a file such as `net.onnx`."""
    weights: str | None = None
    """A .pth, .pt or .safetensors file, or `pretrained` for those that come with edgepack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Data:
    """The images, and how they are split and prepared."""

    source: str = "embedded"
    """A name of `pack datasets`, a folder, or an .npz file."""
    data_dir: str | None = None
    """Where the named data sets of torchvision are looked for, and downloaded to."""
    image_size: int | None = None
    """Height and width after resizing; by default the one size that all have, or 224 where it is large or differs."""
    validation: float = 0.1
    """Share of the training data that is held out for every choice that is made."""
    calibration_samples: int = 512
    evaluation_samples: int = 2000
    mean: tuple[float, ...] | None = None
    """Per channel, of values in 0 to 1; by default that of the training data."""
    std: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Train:
    """Training from the weights that the model starts with."""

    epochs: int = 8
    share: float = 1.0
    """Of the training samples that one epoch goes over, drawn anew for each."""
    batch_size: int = 64
    optimizer: Optimizer = "adamw"
    schedule: Schedule = "one-cycle"
    learning_rate: float = 0.004
    weight_decay: float = 0.01
    label_smoothing: float = 0.0
    augment: Augment = "flip"
    """Mirror images, and random shifts of up to an eighth of the image: for digits and letters take `shift`."""
    compute: Compute = "auto"
    arithmetic: Arithmetic = "auto"
    """Half precision in the products of a training; by default where the device gains by it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prune:
    """What goes from the network, and the training after it that lets the rest adapt."""

    method: PruneMethod = "l1"
    """Weights set to zero by size within each layer, by size over all layers, at random, or two of every four; or
    whole channels taken out, which alone makes the network smaller and faster as it is."""
    amount: float = 0.5
    """The share that goes, 0 to 1; `2:4` has its own."""
    of: Share = "channels"
    """What `amount` is a share of, for `channels`: it then goes on until so much of this has gone."""
    importance: Importance = "l1"
    """By what channels are ranked, for `channels`."""
    across_layers: bool = False
    """Rank the channels of all layers together, instead of taking the same share of each."""
    round_to: int = 8
    """Layers keep a multiple of so many channels, which is what kernels are made for."""
    amounts: dict[str, float] = field(default_factory=dict)
    """Pattern of layers' names -> the share of channels that goes there, in place of `amount`."""
    keep: tuple[str, ...] = ()
    """Patterns of the names of layers that are left alone, such as `stack1.*`."""
    schedule: PruneSchedule = "one-shot"
    """How the amount grows over the steps."""
    steps: int = 1
    """With fine-tuning after each."""
    fine_tune_epochs: int = 2
    """Over all steps."""
    fine_tune_share: float = 1.0
    """Of the training samples that one epoch of it goes over."""
    fine_tune_learning_rate: float = 0.001
    fine_tune_augment: Augment | None = None
    """None is: as in the training. What is left may be too small a network to learn from as much variety."""
    distil: float = 0.5
    """How much of the loss of fine-tuning is the unpruned network's answers, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Qat:
    """Training on with the rounding of int8 in the network, so that its weights learn to bear it."""

    epochs: int = 2
    share: float = 1.0
    """Of the training samples that one epoch goes over."""
    learning_rate: float = 0.0005
    distil: float = 0.5
    """How much of the loss is the answers of the network in fp32, 0 to 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quantize:
    """How the int8 artifacts are made."""

    method: QuantizeMethod = "static"
    torch: TorchTechnique = "fx"
    """What makes static int8 TorchScript."""
    onnx: OnnxTechnique = "onnxruntime"
    """What makes static int8 ONNX."""
    operators: OnnxOperators = "qdq"
    """How ONNX Runtime's own technique writes an integer layer: between two conversions, or as one operator."""
    ranges: Ranges = "min-max"
    """How the range of each activation follows from what calibration saw of it."""
    percentile: float = 99.99
    """For `ranges = "percentile"`."""
    per_channel: bool | None = None
    """One scale per output channel of a weight, or one per tensor; by default as the target has it."""
    symmetric: bool = False
    """Activations around zero, without a zero point."""
    equalize: bool = False
    """Even out the ranges of neighbouring layers' channels first, which depthwise networks need."""
    correct_bias: bool = False
    """Take back, in each layer's bias, the shift that rounding its weights brings."""
    keep_fp32: tuple[str, ...] = ()
    """Patterns of the names of layers that are not quantized."""
    sensitivity: bool = False
    """Quantize one layer at a time, and show which of them harm the answers most."""
    qat: Qat | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """Another way to compress the same trained network, whose artifacts stand beside the others in one bundle."""

    name: str
    """Stands before the names of its artifacts: `pruned` makes `pruned-int8.onnx`."""
    title: str = ""
    """What tables call it; by default the artifact's name."""
    prune: Prune | None = None
    quantize: Quantize | None = None
    artifacts: tuple[str, ...]
    """Such as `int8.onnx`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """How much accuracy compression may cost, and what may be tried to stay within it."""

    max_drop: float
    """Of top-1, in points of a hundred, against the trained network in fp32."""
    qat: Qat = Qat()
    """The last try."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choose:
    """Which of the recipe's own artifacts stay in the bundle: the best of latency, size and accuracy."""

    keep: int = 3
    """At most, beside the reference in fp32."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assignment:
    """What of an ONNX file stays in fp32, and in which form the rest becomes integers."""

    operators: OnnxOperators = "qdq"
    fp32: tuple[str, ...] = ()
    """Names of nodes; `*` alone is all of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Optimise:
    """A search, by measured latency, for what of an ONNX file stays in fp32."""

    for_s: float
    """Over all runs of the same search."""
    found: dict[str, Assignment] = field(default_factory=dict)
    """Artifact's name -> what a search has come to: it is made so, without another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Export:
    """The files' formats."""

    opset: int = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """How the artifacts are measured on the host."""

    effort: Effort = "quick"
    threads: int | None = None
    """By default as many as there are usable CPUs."""
    minimise: Objective = "latency"
    """What the fastest is fastest in: a call, or import, load and first answer together."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """Everything that decides what is in a bundle, but for the target."""

    title: str = ""
    """What its table is called, where it is one of those to be reproduced."""
    seed: int = 0
    model: Model = Model()
    models: tuple[str, ...] = ()
    """Pack each of these in place of `model.name`, a bundle each."""
    data: Data = Data()
    train: Train | None = None
    prune: Prune | None = None
    quantize: Quantize | None = None
    candidates: tuple[str, ...] = ()
    """The artifacts to make, such as `int8.onnx`; by default those of the target, which is what `quick` stands for, and
    `all` for what may be faster as well."""
    choose: Choose | None = None
    """Without it, all that was made is bundled."""
    variants: tuple[Variant, ...] = ()
    budget: Budget | None = None
    optimise: Optimise | None = None
    export: Export = Export()
    measure: Measure = Measure()


def ways(recipe: Recipe) -> tuple[Variant, ...]:
    """Return all the ways to compress that a recipe has, its own first, which bears no name."""
    own = Variant(name="", prune=recipe.prune, quantize=recipe.quantize, artifacts=recipe.candidates)
    return (own, *recipe.variants)


def described(recipe: Recipe) -> str:
    """Return the steps of a recipe in one line."""
    model, train, prune, quantize = recipe.model, recipe.train, recipe.prune, recipe.quantize
    steps = [
        f"{model.name}{' with given weights' if model.weights else ''} on {recipe.data.source}",
        f"train {units.counted(train.epochs, 'epoch')}" if train and train.epochs else "no training",
        f"prune {prune.amount:.0%}" if prune else "no pruning",
        f"quantize {quantize.method}{' with QAT' if quantize.qat else ''}" if quantize else "no int8",
    ]
    if recipe.variants:
        steps.append(f"variants {', '.join(variant.name for variant in recipe.variants)}")
    if recipe.budget:
        steps.append(f"at most {units.counted(recipe.budget.max_drop, 'point')} lost")
    return ", ".join(steps)
