"""A small residual network as the artifacts of a bundle, for tests that look between its layers."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

import targets
from packager import recipe
from packager.data import Samples
from packager.export import onnx as onnx_export
from packager.export import onnx_compact, torchscript
from packager.quantize import Order, fx, onnx_static
from packager.quantize.calibration import Calibration
from runner.bundle import FP32_REFERENCE, Bundle
from runner.manifest import Artifact, Format, Precision, Target
from runner.progress import Silent
from tests import bundles, modules, networks

SAMPLES = 6
CLASSES = 4
INPUTS = networks.PREPROCESS.apply(networks.inputs(SAMPLES))
"""Of the evaluation set, prepared."""
Files = Mapping[str, bytes]
Change = Callable[[nn.Module], None]


def network(change: Change = lambda _: None) -> nn.Module:
    """Return a network of convolutions `conv`, `conv1` and `conv2` about a shortcut, and a layer `linear`."""
    torch.manual_seed(0)
    module = modules.settled(modules.Residual(), torch.from_numpy(INPUTS))
    with torch.no_grad():
        change(module)
    return module


def order(target: Target) -> Order:
    """Return what is asked of a technique: everything in int8, calibrated on images of its own."""
    images = networks.inputs(32, seed=1)
    samples = Samples.whole(images, np.zeros(len(images), np.int64))
    calibration = Calibration(samples=samples, preprocess=networks.PREPROCESS, progress=Silent())
    return Order(target=target, plan=recipe.Quantize(), calibration=calibration)


def files(target: Target, module: nn.Module) -> Files:
    """Return the four artifacts of a target, by their names."""
    example = torch.from_numpy(INPUTS[:1])
    asked = order(target)
    fp32 = onnx_export.export(module, example, 20).content
    return {
        "fp32.onnx": fp32,
        "int8.onnx": onnx_compact.compact(onnx_static.quantize(fp32, asked)),
        "fp32.torchscript": torchscript.export(module, example).content,
        "int8.torchscript": torchscript.export(fx.quantize(module, asked), example).content,
    }


def artifact(name: str, target: Target) -> Artifact:
    """Return what the manifest says of one of them."""
    precision: Precision = "int8" if name.startswith("int8") else "fp32"
    form: Format = "onnx" if name.endswith("onnx") else "torchscript"
    engine = target.engine if name == "int8.torchscript" else None
    return Artifact(name=name, path=f"artifacts/{name}", precision=precision, format=form, engine=engine, made_with={})


def bundle(path: Path, contents: Files, target: str = "x86") -> Bundle:
    """Write and open a bundle of these artifacts, with logits that nobody has computed."""
    logits = dict.fromkeys((FP32_REFERENCE, *contents), np.zeros((SAMPLES, CLASSES), np.float32))
    wanted = targets.load(target)
    found = [artifact(name, wanted) for name in contents]
    labels = np.zeros(SAMPLES, np.int64)
    return bundles.write_bundle(path, contents, found, logits=logits, labels=labels, target=wanted)
