"""From a trained network to the files that a target asks for: one road for each precision and format."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from packager import recipe
from packager.cache import Cache, versions
from packager.data import Splits
from packager.export import Exported, HalfPrecision
from packager.quantize.calibration import STRIDE, Calibration
from runner import codec
from runner.manifest import Artifact, Candidate, Format, Machine, Precision, Target
from runner.progress import Progress

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torchscript": ".torchscript.pt"}
MAKERS: dict[Format, tuple[str, ...]] = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "torchscript": ("torch",),
}
CONTENT, FACTS = "artifact", "facts.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Workshop:
    """What artifacts are made from."""

    module: nn.Module
    key: str
    """What stands for the network, weights included, in the cache."""
    splits: Splits
    quantize: recipe.Quantize | None
    export: recipe.Export
    cache: Cache
    progress: Progress

    @property
    def example(self) -> Tensor:
        """One calibration sample as the network sees it."""
        return torch.from_numpy(self.splits.preprocess.apply(self.splits.calibration.take(slice(0, 1))))

    @property
    def calibration(self) -> Calibration:
        """The samples that static quantization looks at."""
        return Calibration(samples=self.splits.calibration, preprocess=self.splits.preprocess, progress=self.progress)


@dataclass(frozen=True, kw_only=True, slots=True)
class Built:
    """A file that can be run, and what the manifest says of it."""

    artifact: Artifact
    file: Path
    cached: bool


Road = Callable[[Workshop, Target], Exported]


def build(candidate: Candidate, workshop: Workshop, target: Target) -> Built:
    """Make the file of a candidate, or find it where it was made before. Raises StepError."""
    road = ROADS[candidate.precision, candidate.format]

    def make(folder: Path) -> None:
        exported = road(workshop, target)
        (folder / CONTENT).write_bytes(exported.content)
        (folder / FACTS).write_text(json.dumps({"dynamic_batch": exported.dynamic_batch}), encoding="utf-8")

    found = workshop.cache.made(candidate.name, _inputs(candidate, workshop, target), make)
    facts = json.loads((found.folder / FACTS).read_text(encoding="utf-8"))
    quantized = candidate.precision == "int8" and candidate.format == "torchscript"
    artifact = Artifact(
        name=candidate.name,
        path=f"artifacts/{candidate.precision}{SUFFIXES[candidate.format]}",
        precision=candidate.precision,
        format=candidate.format,
        device=target.device,
        machines=_machines(target) if quantized else (),
        engine=target.engine if quantized else None,
        opset=workshop.export.opset if candidate.format == "onnx" else None,
        dynamic_batch=facts["dynamic_batch"],
        made_with={name: version for name, version in versions().items() if name in MAKERS[candidate.format]},
    )
    return Built(artifact=artifact, file=found.folder / CONTENT, cached=found.cached)


def _inputs(candidate: Candidate, workshop: Workshop, target: Target) -> dict[str, object]:
    """Return all that decides a candidate's bytes: an fp32 file is the same for every target."""
    inputs: dict[str, object] = {"network": workshop.key, "preprocess": workshop.splits.preprocess}
    if candidate.format == "onnx":
        inputs["export"] = workshop.export
    if candidate.precision == "int8":
        inputs |= {
            "quantize": workshop.quantize,
            "data": workshop.splits.sha256,
            "engine": target.engine,
            "types": [target.activation_type, target.weight_type, target.per_channel],
        }
    return {name: codec.unstructure(value) for name, value in inputs.items()}


def _machines(target: Target) -> tuple[Machine, ...]:
    """Return where the quantization engine exists; qnnpack and onednn do on both."""
    return ("x86_64",) if target.engine in ("x86", "fbgemm") else ()


def _fp32_onnx(workshop: Workshop, _: Target) -> Exported:
    return _onnx(workshop.module, workshop)


def _fp16_onnx(workshop: Workshop, _: Target) -> Exported:
    return _onnx(HalfPrecision(workshop.module), workshop)


def _onnx(module: nn.Module, workshop: Workshop) -> Exported:
    from packager.export import onnx  # noqa: PLC0415 - heavy

    return onnx.export(module, workshop.example, workshop.export.opset)


def _int8_onnx(workshop: Workshop, target: Target) -> Exported:
    from packager.quantize import onnx_int8  # noqa: PLC0415 - heavy

    fp32 = build(Candidate(precision="fp32", format="onnx"), workshop, target)
    data, dynamic_batch = fp32.file.read_bytes(), fp32.artifact.dynamic_batch
    if workshop.quantize is not None and workshop.quantize.method == "dynamic":
        content = onnx_int8.dynamic(data, target)
    else:
        content = onnx_int8.static(data, target, workshop.calibration, STRIDE if dynamic_batch else 1)
    return Exported(content=content, dynamic_batch=dynamic_batch)


def _fp32_torchscript(workshop: Workshop, _: Target) -> Exported:
    return _torchscript(workshop.module, workshop)


def _fp16_torchscript(workshop: Workshop, _: Target) -> Exported:
    return _torchscript(HalfPrecision(workshop.module), workshop)


def _int8_torchscript(workshop: Workshop, target: Target) -> Exported:
    from packager.quantize import fx_static, torch_dynamic  # noqa: PLC0415 - deprecated, and loaded by nobody else

    if workshop.quantize is not None and workshop.quantize.method == "dynamic":
        return _torchscript(torch_dynamic.quantize(workshop.module, target), workshop)
    return _torchscript(fx_static.quantize(workshop.module, target, workshop.calibration), workshop)


def _torchscript(module: nn.Module, workshop: Workshop) -> Exported:
    from packager.export import torchscript  # noqa: PLC0415 - deprecated, and loaded by nobody else

    return torchscript.export(module, workshop.example)


ROADS: dict[tuple[Precision, Format], Road] = {
    ("fp32", "onnx"): _fp32_onnx,
    ("fp16", "onnx"): _fp16_onnx,
    ("int8", "onnx"): _int8_onnx,
    ("fp32", "torchscript"): _fp32_torchscript,
    ("fp16", "torchscript"): _fp16_torchscript,
    ("int8", "torchscript"): _int8_torchscript,
}
