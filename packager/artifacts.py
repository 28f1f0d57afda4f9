"""From a network to the files that a target asks for, each made once and then found again."""

from dataclasses import dataclass, replace
from pathlib import Path

from packager import roads
from packager.cache import versions
from packager.onnx_model import OnnxModel
from packager.roads import Workshop
from runner import codec
from runner.manifest import INTEGERS, Artifact, Candidate, Format, Machine, Target
from runner.packing import Epoch

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".torchscript.pt"}
MAKERS: dict[Format, tuple[str, ...]] = {
    "onnx": ("torch", "torchao", "onnx", "onnxscript", "onnxruntime"),
    "torchscript": ("torch",),
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
    """Of the training that it took, if its road has one."""


def build(candidate: Candidate, workshop: Workshop, target: Target) -> Built:
    """Make the file of a candidate, or find it where it was made before. Raises StepError."""

    def make(folder: Path) -> None:
        exported = roads.export(candidate, workshop, target)
        (folder / CONTENT).write_bytes(exported.content)
        facts = Facts(dynamic_batch=exported.dynamic_batch, epochs=exported.epochs)
        (folder / FACTS).write_text(codec.write_json(facts), encoding="utf-8")

    found = workshop.bench.cache.made(candidate.name, _inputs(candidate, workshop, target), make)
    facts = codec.read_json(Facts, (found.folder / FACTS).read_bytes())
    quantized = candidate.precision == "int8" and candidate.format == "torchscript"
    name = workshop.artifact(candidate)
    artifact = Artifact(
        name=name,
        title=workshop.title,
        path=f"artifacts/{name.removesuffix(f'.{candidate.format}')}{SUFFIXES[candidate.format]}",
        precision=candidate.precision,
        format=candidate.format,
        device=target.device,
        machines=_machines(target) if quantized else (),
        engine=target.engine if quantized else None,
        opset=_opset(candidate, workshop) if candidate.format == "onnx" else None,
        dynamic_batch=facts.dynamic_batch,
        made_with={name: version for name, version in versions().items() if name in MAKERS[candidate.format]},
    )
    return Built(artifact=artifact, file=found.folder / CONTENT, cached=found.cached, epochs=facts.epochs)


def _inputs(candidate: Candidate, workshop: Workshop, target: Target) -> dict[str, object]:
    """Return all that decides a candidate's bytes: an fp32 file is the same for every target."""
    inputs: dict[str, object] = {
        "network": workshop.network.key,
        "preprocess": workshop.bench.splits.preprocess,
    }
    if candidate.format == "onnx":
        inputs["export"] = workshop.bench.recipe.export
    if candidate.precision in INTEGERS:
        inputs |= {
            "quantize": workshop.quantize,
            "data": workshop.bench.splits.sha256,
            "target": replace(target, name="", description="", artifacts=()),
        }
    if workshop.quantize is not None and workshop.quantize.qat is not None:
        inputs |= {
            "train": workshop.bench.recipe.train,
            "teacher": workshop.teacher.key,
            "seed": workshop.bench.recipe.seed,
        }
    return {name: codec.unstructure(value) for name, value in inputs.items()}


def _opset(candidate: Candidate, workshop: Workshop) -> int:
    model = workshop.network.model
    opset = model.opset if isinstance(model, OnnxModel) else workshop.bench.recipe.export.opset
    return max(opset, FIRST_WITH_INT4) if candidate.precision == "int4-weights" else opset


def _machines(target: Target) -> tuple[Machine, ...]:
    """Return where the quantization engine exists; qnnpack and onednn do on both."""
    return ("x86_64",) if target.engine in ("x86", "fbgemm") else ()
