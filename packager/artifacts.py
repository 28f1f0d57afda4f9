"""From a network to the files that a target asks for, each made once and then found again."""

from dataclasses import dataclass, replace
from pathlib import Path

from packager import builders
from packager.apart import Order
from packager.builders import BuildContext
from packager.cache import versions
from packager.candidates import OPTIMISED
from packager.onnx_model import OnnxModel
from runner import codec, device
from runner.manifest import INTEGERS, Artifact, Candidate, Engine, Format, Target
from runner.packing import Epoch

SUFFIXES: dict[Format, str] = {
    "onnx": ".onnx",
    "torchscript": ".torchscript.pt",
    "openvino": ".openvino.zip",
    "executorch": ".pte",
    "litert": ".tflite",
    "aotinductor": ".pt2",
}
MAKERS: dict[Format, tuple[str, ...]] = {
    "onnx": ("torch", "torchao", "onnx", "onnxscript", "onnxruntime"),
    "torchscript": ("torch",),
    "openvino": ("torch", "torchao", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf"),
    "executorch": ("torch", "torchao", "executorch"),
    "litert": ("torch", "litert-torch", "ai-edge-quantizer", "ai-edge-litert"),
    "aotinductor": ("torch", "torchao"),
}
FIRST_WITH_INT4 = 21
"""The first opset of ONNX that has integers of 4 bits."""
CONTENT, FACTS = "artifact", "facts.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Facts:
    """What is kept beside a file in the cache."""

    dynamic_batch: bool
    epochs: tuple[Epoch, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A file that can be run, and what the manifest says of it."""

    artifact: Artifact
    file: Path
    cached: bool
    epochs: tuple[Epoch, ...] = ()
    """Of the training that it took, if there was one."""


def begin(candidate: Candidate, context: BuildContext, target: Target) -> None:
    """Have the file of a candidate made by the process that builds apart, where there is one, and go on meanwhile."""
    apart, cache = context.bench.apart, context.bench.cache
    if apart is not None and not cache.holds(candidate.name, _inputs(candidate, context, target)):
        apart.begin(_order(candidate, context, target))


def build(candidate: Candidate, context: BuildContext, target: Target) -> Built:
    """Make the file of a candidate, or find it where it was made before. Raises StepError."""

    def make(folder: Path) -> None:
        exported = builders.export(candidate, context, target)
        (folder / CONTENT).write_bytes(exported.content)
        facts = Facts(dynamic_batch=exported.dynamic_batch, epochs=exported.epochs)
        (folder / FACTS).write_text(codec.write_json(facts), encoding="utf-8")

    begin(candidate, context, target)
    apart = context.bench.apart
    is_new = apart is not None and apart.finish(_order(candidate, context, target))
    found = context.bench.cache.made(candidate.name, _inputs(candidate, context, target), make)
    facts = codec.read_json(Facts, (found.folder / FACTS).read_bytes())
    engine, native = _engine(candidate, target), candidate.format == "aotinductor"
    name = context.artifact(candidate)
    artifact = Artifact(
        name=name,
        title=context.title,
        path=f"artifacts/{name.removesuffix(f'.{candidate.format}')}{SUFFIXES[candidate.format]}",
        precision=candidate.precision,
        format=candidate.format,
        device=target.device,
        machines=(target.machine,) if native or engine in ("x86", "fbgemm") else (),  # other engines are on both
        engine=engine,
        instructions=device.facts().features if native else (),
        opset=_opset(candidate, context) if candidate.format == "onnx" else None,
        dynamic_batch=facts.dynamic_batch,
        made_with={name: version for name, version in versions().items() if name in MAKERS[candidate.format]},
    )
    return Built(
        artifact=artifact, file=found.folder / CONTENT, cached=found.cached and not is_new, epochs=facts.epochs
    )


def _order(candidate: Candidate, context: BuildContext, target: Target) -> Order:
    return Order(
        candidate=candidate,
        target=target,
        recipe=context.bench.recipe,
        variant=context.name,
        quantize=context.quantize,
        network=context.network.key,
        teacher=context.teacher.key,
    )


def _inputs(candidate: Candidate, context: BuildContext, target: Target) -> dict[str, object]:
    """Return all that decides a candidate's bytes: an fp32 file is the same for every target."""
    inputs: dict[str, object] = {
        "network": context.network.key,
        "preprocess": context.bench.splits.preprocess,
    }
    if candidate.format == "aotinductor":
        inputs["host"] = device.facts().features
    if candidate.format in ("onnx", "openvino"):
        inputs["export"] = context.bench.recipe.export
    if candidate.precision in INTEGERS:
        inputs |= {
            "quantize": context.quantize,
            "data": context.bench.splits.sha256,
            "target": replace(target, name="", description="", artifacts=(), more=()),
        }
    if candidate == OPTIMISED:
        inputs["assignment"] = context.assignment(candidate)
    if context.quantize is not None and context.quantize.qat is not None:
        inputs |= {
            "train": context.bench.recipe.train,
            "teacher": context.teacher.key,
            "seed": context.bench.recipe.seed,
        }
    return {name: codec.unstructure(value) for name, value in inputs.items()}


def _opset(candidate: Candidate, context: BuildContext) -> int:
    model = context.network.model
    opset = model.opset if isinstance(model, OnnxModel) else context.bench.recipe.export.opset
    return max(opset, FIRST_WITH_INT4) if candidate.precision == "int4-weights" else opset


def _engine(candidate: Candidate, target: Target) -> Engine | None:
    """Return the quantization engine that a file is made for."""
    if candidate.precision != "int8" or candidate.format != "torchscript":
        return None
    return "onednn" if candidate.style == "onednn" else target.engine
