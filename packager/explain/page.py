"""A divergence as a page: the sentence that names the layer, what becomes of the difference, and a table."""

from collections.abc import Iterator

from packager.explain.divergence import BEYOND, Divergence, LayerDifference
from runner.render import units
from runner.render.page import Block, Page, Table, Title


def divergence_page(found: Divergence) -> Page:
    """Return a divergence as a page."""
    return (
        Title(text=f"{found.artifact}, sample {found.sample}: the host and the device, layer by layer"),
        sentence(found),
        *_later(found),
        *_disturbances(found),
        _table(found),
        *_tolerance(found),
    )


def sentence(found: Divergence) -> str:
    """Say which layer is the first that diverges, and how."""
    place, count = found.first, len(found.layers)
    if place is None:
        return f"{found.artifact}: {_none_diverges(found)}"
    first = found.layers[place]
    how = f"{first.differing:,} of {first.values:,} values differ by {_largest(first)}"
    if place == 0:
        return f"{found.artifact}: the first of its {count} layers diverges already, {_called(first)}: {how}."
    before = "layer 1 is" if place == 1 else f"layers 1 to {place} are"
    same = "identical" if not any(layer.differing for layer in found.layers[:place]) else "the same but for rounding"
    return f"{found.artifact}: {before} {same}; the first that diverges is {_called(first)}: {how}."


def _none_diverges(found: Divergence) -> str:
    count = len(found.layers)
    rounded = any(layer.differing for layer in found.layers)
    same = "the same but for the order of summation" if rounded else "identical bit for bit"
    if not found.logits.differing:
        meaning = "both machines compute the same, and a difference in the reports comes from another sample"
    elif not found.logits.diverges:
        meaning = f"the logits differ by {_largest(found.logits)}, which is no more than that"
    else:
        meaning = (
            f"the logits differ by {_largest(found.logits)} nevertheless, and so what differs comes after the last "
            "layer, or is fused where nothing between the layers is asked for"
        )
    return f"all {count} layers are {same}: {meaning}."


def _later(found: Divergence) -> Iterator[str]:
    """Say how the difference grows or vanishes after the first layer that diverges."""
    if found.first is None:
        return
    later = found.layers[found.first + 1 :]
    unit = [layer for layer in later if layer.integer == found.layers[found.first].integer]
    most = max(unit, key=lambda layer: layer.largest, default=None)
    first = found.layers[found.first]
    if most is not None and most.largest > first.largest:
        yield f"After it the difference grows to {_largest(most)}, in {_called(most)}."
    elif any(layer.differing for layer in later):
        yield "After it the difference grows no more."
    if later and not later[-1].differing:
        last = max(place for place, layer in enumerate(found.layers) if layer.differing)
        yield f"It vanishes after {_called(found.layers[last])}: what follows is identical."
    end = f"differ by {_largest(found.logits)}" if found.logits.differing else "are identical"
    yield f"The logits {end}."


def _disturbances(found: Divergence) -> Iterator[str]:
    """Say where the table is not of what the artifact itself computes."""
    for side, largest in (("host", found.host_disturbed), ("device", found.device_disturbed)):
        if largest:
            yield (
                f"On the {side} the further outputs change the logits, by {largest:.2g}: the runtime fuses other "
                "layers there, and the table is only near to what the artifact computes."
            )


def _table(found: Divergence) -> Block:
    rows = [_row(str(number), layer) for number, layer in enumerate(found.layers, start=1)]
    columns = ("", "layer", "operator", "values", "differ", "share", "largest difference", "")
    return Table(columns=columns, rows=(*rows, _row("", found.logits)), left=3, best=found.first)


def _row(number: str, layer: LayerDifference) -> tuple[str, ...]:
    verdict = "diverges" if layer.diverges else "rounding" if layer.differing else "identical"
    some = layer.differing > 0
    return (
        number,
        layer.layer.name,
        layer.layer.operator,
        f"{layer.values:,}",
        f"{layer.differing:,}" if some else units.NONE,
        units.percent(layer.differing / layer.values, 2) if some else units.NONE,
        _largest(layer) if some else units.NONE,
        verdict,
    )


def _tolerance(found: Divergence) -> Iterator[str]:
    if any(layer.differing and not layer.integer for layer in (*found.layers, found.logits)):
        yield (
            f"Floats that lie apart by at most {found.tolerance:.2g} of the largest in their layer count as rounding, "
            "as of sums of the same values in another order."
        )


def _called(layer: LayerDifference) -> str:
    name, operator = layer.layer.name, layer.layer.operator
    return name if not operator or name.startswith(operator) else f"{name} ({operator})"


def _largest(layer: LayerDifference) -> str:
    if layer.integer:
        return f"{'at most ' if layer.largest > 1 else ''}{units.counted(layer.largest, 'step')}"
    if layer.largest >= BEYOND:
        return "what is no number on one side"
    return f"{layer.largest:.2g} ({layer.relative:.1g} of the largest)"
