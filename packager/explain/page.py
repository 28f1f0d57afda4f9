"""A divergence as a page: the sentence that names the layer, what becomes of the difference, and a table."""

import itertools
from collections.abc import Iterator, Sequence

from packager.explain.divergence import BEYOND, Divergence, LayerDifference
from runner.render import units
from runner.render.page import Page, Table, Title, drop_empty_columns

ROUNDED_AFTER = tuple(f"{name} + QuantizeLinear" for name in ("Conv", "Gemm", "MatMul", "Add"))
"""Layers that ONNX Runtime computes in float32 between two conversions, for want of an integer kernel."""
MOST_ALIKE = 4
"""Identical layers, one after the other, that have rows of their own."""


def divergence_page(found: Divergence) -> Page:
    """Return a divergence as a page."""
    return (
        Title(text=f"{found.artifact}, sample {found.sample}: the host and the device, layer by layer"),
        sentence(found),
        *_causes(found),
        *_later(found),
        *_disturbances(found),
        _table(found),
        *_tolerance(found),
    )


def sentence(found: Divergence) -> str:
    """Return the one sentence that names the first layer that diverges, or says that none does."""
    told = _none_diverges(found) if found.first is None else _first_diverges(found, found.first)
    return f"{found.artifact}: {told}"


def _first_diverges(found: Divergence, place: int) -> str:
    """Say which layer is the first that diverges, and how."""
    count, first = len(found.layers), found.layers[place]
    verb = "differs" if first.differing == 1 else "differ"
    how = f"{first.differing:,} of {first.values:,} values {verb} by {_at_most(first)}"
    if place == 0:
        return f"the first of its {count} layers diverges already, {_called(first)}: {how}."
    before = "layer 1 is" if place == 1 else f"layers 1 {'and' if place == 2 else 'to'} {place} are"
    same = "the same but for rounding" if any(layer.differing for layer in found.layers[:place]) else "identical"
    return f"{before} {same}; the first that diverges is {_called(first)}: {how}."


def _none_diverges(found: Divergence) -> str:
    """Say what it means that no layer diverges."""
    rounded = any(layer.differing for layer in found.layers)
    every = f"every one of its {len(found.layers)} layers is" if found.layers[1:] else "its only layer is"
    every = f"{every} the same but for rounding" if rounded else f"{every} identical, bit for bit"
    if not found.logits.differing:
        return (
            f"{every}, and so are the logits: both machines compute the same for this sample. What differs in their "
            "reports comes from other numbers of threads, another batch, or another sample."
        )
    apart = f"the logits differ by {_at_most(found.logits)}"
    if not found.logits.diverges:
        return f"{every}: {apart}, which is rounding too."
    return (
        f"{every}, and yet {apart}: what differs comes after the last layer that can be shown, or in what a runtime "
        "fuses only where nothing between the layers is asked for."
    )


def _causes(found: Divergence) -> Iterator[str]:
    """Say what is known of the first layer that diverges."""
    if found.first is not None and found.layers[found.first].layer.operator in ROUNDED_AFTER:
        yield (
            "On the host ONNX Runtime computes this layer in float32 and rounds it afterwards. Where the device has an "
            "integer kernel for it, what lies near the middle of two steps may become the other one."
        )


def _later(found: Divergence) -> Iterator[str]:
    """Say how the difference grows or vanishes after the first layer that diverges."""
    if found.first is None:
        return
    first, later = found.layers[found.first], found.layers[found.first + 1 :]
    alike = [layer for layer in later if layer.integer == first.integer]
    most = max(alike, key=lambda layer: layer.largest, default=None)
    if most is not None and most.largest > first.largest:
        yield f"After it the difference grows to {_size(most)}, in {_called(most)}."
    elif any(layer.differing for layer in later):
        yield "After it no difference is larger."
    if later and not later[-1].differing:
        last = max(place for place, layer in enumerate(found.layers) if layer.differing)
        yield f"It vanishes after {_called(found.layers[last])}: what follows is identical."
    end = f"differ by {_at_most(found.logits)}" if found.logits.differing else "are identical"
    yield f"The logits {end}."


def _disturbances(found: Divergence) -> Iterator[str]:
    """Say where the table is not of what the artifact itself computes."""
    for side, largest in (("host", found.host_disturbed), ("device", found.device_disturbed)):
        if largest:
            yield (
                f"On the {side} the further outputs change the logits by {largest:.2g}: the runtime fuses other "
                "layers there, and the table is only near to what the artifact itself computes."
            )


def _table(found: Divergence) -> Table:
    rows, best = list[tuple[str, ...]](), None
    for alike, group in itertools.groupby(enumerate(found.layers, start=1), key=lambda pair: not pair[1].differing):
        numbered = list(group)
        if alike and len(numbered) > MOST_ALIKE:
            rows.append(_folded(numbered))
            continue
        for number, layer in numbered:
            best = len(rows) if number - 1 == found.first else best
            rows.append(_row(str(number), layer))
    columns = ("", "layer", "operator", "values", "differ", "share", "by at most", "of the largest", "verdict")
    table = Table(columns=columns, rows=(*rows, _row("", found.logits)), left=3, best=best)
    return drop_empty_columns(table, units.NONE)


def _folded(layers: Sequence[tuple[int, LayerDifference]]) -> tuple[str, ...]:
    """Return one row for layers that are all identical."""
    (start, first), *_, (end, last) = layers
    values = sum(layer.values for _, layer in layers)
    name = f"{first.layer.name} … {last.layer.name}"
    return f"{start}-{end}", name, "", f"{values:,}", *[units.NONE] * 4, "identical"


def _row(number: str, layer: LayerDifference) -> tuple[str, ...]:
    verdict = "diverges" if layer.diverges else "rounding" if layer.differing else "identical"
    name, operator, values = layer.layer.name, layer.layer.operator, f"{layer.values:,}"
    if not layer.differing:
        return number, name, operator, values, units.NONE, units.NONE, units.NONE, units.NONE, verdict
    share = units.percent(layer.differing / layer.values)
    relative = units.NONE if layer.integer else f"{layer.relative:.1g}"
    return number, name, operator, values, f"{layer.differing:,}", share, _size(layer), relative, verdict


def _tolerance(found: Divergence) -> Iterator[str]:
    if any(layer.differing and not layer.integer for layer in (*found.layers, found.logits)):
        yield (
            f"Floats that lie apart by at most {found.tolerance:.2g} of the largest in their layer count as rounding, "
            "as of sums of the same values in another order."
        )


def _called(layer: LayerDifference) -> str:
    name, operator = layer.layer.name, layer.layer.operator
    return name if not operator or name.startswith(operator) else f"{name} ({operator})"


def _at_most(layer: LayerDifference) -> str:
    return _size(layer) if layer.integer and layer.largest == 1 else f"at most {_size(layer)}"


def _size(layer: LayerDifference) -> str:
    if layer.largest >= BEYOND:
        return "what is no number on one side"
    return units.counted(layer.largest, "step") if layer.integer else f"{layer.largest:.2g}"
