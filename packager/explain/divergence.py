"""What two machines found between the layers of one artifact, held against each other: pure functions of arrays."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from packager.explain.probe import Layer, Probe
from runner.errors import MeasurementError
from runner.manifest import Precision
from runner.measure.tensors import Tensors
from runner.report import Accuracy

Array = NDArray[np.generic]

FP32_TOLERANCE = 1e-5
TOLERANCES: Mapping[Precision, float] = MappingProxyType({"fp16": 2.0**-8, "bf16": 2.0**-5})
"""How far floats of one layer may lie apart, as a share of its largest, and still be one sum in another order: some
roundings of the type. Of integers none is forgiven."""
BEYOND = sys.float_info.max
"""Stands for infinity, which is no number in JSON."""
LOGITS = Layer(name="logits", operator="")


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerDifference:
    """How far what two machines find in one layer is apart."""

    layer: Layer
    values: int
    differing: int
    """Of them."""
    integer: bool
    largest: float
    """The largest difference: of integers in steps, otherwise in the layer's own unit; BEYOND if one is no number."""
    relative: float
    """The same as a share of the largest value on the host."""
    diverges: bool
    """Whether that is more than another order of summation explains."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Divergence:
    """One artifact on one sample, on the host and on a device."""

    artifact: str
    sample: int
    layers: tuple[LayerDifference, ...]
    """In the graph's order."""
    logits: LayerDifference
    """Of the artifact itself, without any further outputs."""
    tolerance: float
    """Of floats, as a share of a layer's largest value."""
    host_disturbed: float
    """By how much the further outputs change the host's own logits; 0 where they are the same bit for bit."""
    device_disturbed: float

    @property
    def first(self) -> int | None:
        """The place of the first layer that diverges, from 0; None where none does."""
        return next((place for place, layer in enumerate(self.layers) if layer.diverges), None)


def worst_sample(accuracy: Accuracy) -> int | None:
    """Return the sample on which a device's logits are furthest from the host's; None where none differs.

    Reports of older runners have not kept it: of them, the flip with the widest margins is taken, if there is one.
    """
    if accuracy.identical_to_host:
        return None
    if accuracy.furthest_sample is not None:
        return accuracy.furthest_sample
    widest = max(accuracy.flips, key=lambda flip: flip.host_margin + flip.device_margin, default=None)
    return widest.sample if widest else None


def first_divergence(probe: Probe, sample: int, host: Tensors, device: Tensors) -> Divergence:
    """Hold what a device found against what the host found. Raises MeasurementError where that is not the same kind."""
    named = (LOGITS, *probe.layers)
    for side, found in (("host", host), ("device", device)):
        if len(found.probed) != len(named):
            raise _unlike(probe, f"{len(named)} tensors were asked for, and the {side} returned {len(found.probed)}")
    tolerance = TOLERANCES.get(probe.precision, FP32_TOLERANCE)
    triples = zip(named, host.probed, device.probed, strict=True)
    _, *layers = (_difference(probe, layer, ours, theirs, tolerance) for layer, ours, theirs in triples)
    return Divergence(
        artifact=probe.artifact,
        sample=sample,
        layers=tuple(layers),
        logits=_difference(probe, LOGITS, host.logits, device.logits, tolerance),
        tolerance=tolerance,
        host_disturbed=_difference(probe, LOGITS, host.logits, host.probed[0], tolerance).largest,
        device_disturbed=_difference(probe, LOGITS, device.logits, device.probed[0], tolerance).largest,
    )


def _difference(probe: Probe, layer: Layer, host: Array, device: Array, tolerance: float) -> LayerDifference:
    if (host.shape, host.dtype) != (device.shape, device.dtype):
        kinds = f"{host.dtype} {host.shape} on the host, {device.dtype} {device.shape} on the device"
        raise _unlike(probe, f"{layer.name}: {kinds}")
    integer = host.dtype.kind in "iub"
    ours, theirs = (np.asarray(each, np.int64 if integer else np.float64) for each in (host, device))
    # NaN on both sides is no difference.
    apart = (ours != theirs) & ~((ours != ours) & (theirs != theirs))  # noqa: PLR0124 - as IEEE 754 tells a NaN
    distances = np.abs(ours[apart] - theirs[apart]).astype(np.float64)
    largest = min(float(np.where(np.isnan(distances), np.inf, distances).max(initial=0.0)), BEYOND)
    scale = float(np.abs(ours[np.isfinite(ours)]).max(initial=0))
    return LayerDifference(
        layer=layer,
        values=host.size,
        differing=int(apart.sum()),
        integer=integer,
        largest=largest,
        relative=min(largest / scale, BEYOND) if scale else BEYOND if largest else 0.0,
        diverges=largest > (0.0 if integer else tolerance * scale),
    )


def _unlike(probe: Probe, what: str) -> MeasurementError:
    return MeasurementError(what, where=probe.artifact, advice="the same bundle and probe on both sides")
