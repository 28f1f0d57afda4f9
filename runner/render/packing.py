"""What only the host knows, as tables: what pruning brought, which layers int8 harms, how the budget was held."""

from collections.abc import Iterator, Sequence

from runner import stats
from runner.packing import BudgetRecord, Contender, Drop, LayerDamage, NetworkFacts, Packing, Try
from runner.render import units
from runner.render.optimised import optimised_blocks
from runner.render.page import Block, Listing, Table, drop_empty_columns
from runner.render.units import NONE
from runner.report import ArtifactReport, Objective, Report

LONGEST_STEPS = 3
MOST_LAYERS = 20
FASTER = 0.95
"""A network that takes more than this share of the other's time is not called faster."""
SMALLER = 0.95


def packing_blocks(report: Report, packing: Packing) -> Iterator[Block]:
    """Yield what there is to show of how a bundle came to be."""
    yield from pruning_blocks(report, packing)
    if packing.sensitivity:
        yield _sensitivity(packing.sensitivity)
    for record in packing.budgets:
        yield _budget(record)
        yield _verdict(record)
    for search in packing.optimised:
        yield from optimised_blocks(search)
    if packing.contenders:
        yield _contenders(packing.contenders, report.settings.minimise)
        made = [each for each in packing.contenders if each.size_bytes is not None]
        yield Listing(head="Why", lines=tuple(f"{each.name}: {each.why}" for each in made))
    if packing.left_out:
        lines = tuple(
            f"{each.name}: {each.what}" + (f"; try: {each.advice}" if each.advice else "") for each in packing.left_out
        )
        yield Listing(head="Left out", lines=lines)
    yield _steps(packing)


def pruning_blocks(report: Report, packing: Packing) -> Iterator[Block]:
    """Yield what pruning brought, if there was any: parameters, arithmetic, file and latency."""
    if packing.networks:
        yield _pruning(report, packing.networks)
        yield from _pruning_words(report, packing.networks)


def described(tried: Try) -> str:
    """Return how one try went, in one line."""
    return f"{tried.what}: {_drop(tried.validation) if tried.validation else tried.failure}"


def _drop(drop: Drop) -> str:
    coverage = units.percent(drop.interval.confidence, 0)
    return (
        f"{units.points(drop.drop)} points lost, {coverage} interval {_span(drop)}, "
        f"top-1 {units.percent(drop.top1)} on {drop.samples:,} samples"
    )


def _pruning(report: Report, networks: Sequence[NetworkFacts]) -> Table:
    first = _unpruned(networks)
    files = [_fp32(report, network) for network in networks]
    sizes = units.size_scale([each.size_bytes for each in files if each])
    times = units.time_scale([each.latency.median_ns for each in files if each and each.latency], resolution=0.002)
    rows = tuple(
        (
            _name(network),
            f"{network.parameters:,}",
            f"{network.nonzero:,}",
            f"{network.macs:,}",
            units.times(network.macs / first.macs if first.macs else None),
            sizes.show(each.size_bytes) if each else NONE,
            times.show(each.latency.median_ns) if each and each.latency else NONE,
            _speed(each, _fp32(report, first)),
        )
        for network, each in zip(networks, files, strict=True)
    )
    columns = ("network, fp32", "parameters", "not zero", "MACs", "ratio", "file", "latency", "ratio and its interval")
    return Table(columns=columns, rows=rows)


def _name(network: NetworkFacts) -> str:
    return network.name or "packed"


def _fp32(report: Report, network: NetworkFacts) -> ArtifactReport | None:
    return report.artifact(f"{network.name}-fp32.onnx" if network.name else "fp32.onnx")


def _unpruned(networks: Sequence[NetworkFacts]) -> NetworkFacts:
    return max(networks, key=lambda network: (network.macs, network.nonzero))


def _speed(artifact: ArtifactReport | None, other: ArtifactReport | None) -> str:
    if artifact is None or other is None or artifact.latency is None or other.latency is None or artifact == other:
        return NONE
    ratio, interval = stats.hodges_lehmann_ratio(_medians(other), _medians(artifact))
    span = f" ({interval.low:.2f} to {interval.high:.2f})" if interval else ""
    return f"{ratio:.2f}x{span}"


def _medians(artifact: ArtifactReport) -> list[float]:
    processes = artifact.latency.processes if artifact.latency else ()
    return [stats.median(process.samples_ns) for process in processes]


def _pruning_words(report: Report, networks: Sequence[NetworkFacts]) -> Iterator[str]:
    """Say it where parameters have gone, and neither arithmetic nor time has."""
    first = _unpruned(networks)
    whole = _fp32(report, first)
    for network in networks:
        mine = _fp32(report, network)
        if network == first or network.nonzero > SMALLER * first.nonzero or mine is None or whole is None:
            continue
        if mine.latency is None or whole.latency is None or _is_faster(mine, whole, zeros=network.macs == first.macs):
            continue
        gone = units.percent(1 - network.nonzero / first.nonzero, 0)
        yield f"{gone} of the parameters have gone from the network {_name(network)!r}, and no milliseconds: " + (
            "the zeros stay in the file and in the arithmetic. What makes a network faster is to take out whole "
            "channels: --prune-method channels."
            if network.macs == first.macs
            else "this runtime spends its time on other things here than arithmetic."
        )


def _is_faster(mine: ArtifactReport, whole: ArtifactReport, *, zeros: bool) -> bool:
    """Say whether a pruned network takes less time; of zeros, which a dense kernel multiplies too, only past noise."""
    ratio, interval = stats.hodges_lehmann_ratio(_medians(whole), _medians(mine))
    return ratio <= FASTER and not (zeros and interval is not None and interval.high >= 1)


def _sensitivity(damages: Sequence[LayerDamage]) -> Table:
    rows = tuple(
        (each.layer, NONE if each.snr_db is None else f"{each.snr_db:.1f} dB", units.percent(each.changed))
        for each in damages[:MOST_LAYERS]
    )
    return Table(columns=("int8 in this layer alone", "SNR", "answers changed"), rows=rows)


def _contenders(contenders: Sequence[Contender], minimise: Objective) -> Table:
    sizes = units.size_scale([each.size_bytes for each in contenders if each.size_bytes])
    times = units.time_scale([each.cost_ns for each in contenders if each.cost_ns])
    rows = tuple(
        (
            each.name,
            NONE if each.size_bytes is None else sizes.show(each.size_bytes),
            units.percent(each.top1),
            NONE if each.cost_ns is None else times.show(each.cost_ns),
            "kept" if each.kept else "left out" if each.size_bytes is None else "no",
        )
        for each in contenders
    )
    return drop_empty_columns(Table(columns=("candidate", "size", "top-1", minimise, ""), rows=rows), NONE)


def _budget(record: BudgetRecord) -> Table:
    rows = tuple(
        (
            each.what if each.validation else f"{each.what}: {each.failure}",
            *_drop_cells(each.validation),
            "holds" if each.holds else "too much" if each.validation else "failed",
        )
        for each in record.tries
    )
    confirmed = (
        f"{record.chosen}, on the evaluation set",
        *_drop_cells(record.evaluation),
        "holds" if record.evaluation.within(record.max_drop) else "too much",
    )
    columns = (f"{record.artifact}: tried", "top-1", "points lost", "interval", "samples", "")
    return Table(columns=columns, rows=(*rows, confirmed))


def _drop_cells(drop: Drop | None) -> tuple[str, str, str, str]:
    if drop is None:
        return NONE, NONE, NONE, NONE
    return units.percent(drop.top1), units.points(drop.drop), _span(drop), f"{drop.samples:,}"


def _span(drop: Drop) -> str:
    return f"{units.points(drop.interval.low)} to {units.points(drop.interval.high)}"


def _verdict(record: BudgetRecord) -> str:
    limit = units.counted(record.max_drop * 100, "point")
    if record.holds:
        return f"{record.artifact} holds the budget of {limit} by: {record.chosen}."
    missed = f"{record.artifact} does not hold the budget of {limit}"
    if any(each.holds for each in record.tries):
        # It is confirmed once: another choice now would be made by the confirmation.
        missed = f"{missed}, though it did on the validation images: try a larger data.validation, or less pruning"
    return f"{missed}; the best of {len(record.tries)} tried is kept: {record.chosen}."


def _steps(packing: Packing) -> str:
    total = sum(step.duration_s for step in packing.steps)
    longest = sorted(packing.steps, key=lambda it: it.duration_s, reverse=True)[:LONGEST_STEPS]
    steps = ", ".join(f"{it.step} {it.duration_s:.1f} s" for it in longest)
    return f"Packed in {total:.1f} s before it was measured; longest: {steps}."
