"""Comparisons as pages: the device beside the host, or the second beside the first; then what was withheld."""

from collections.abc import Callable, Iterator, Sequence

from runner.compare.comparison import AnswerFlip, ArtifactComparison, Comparison, Delta, Distance, Side, Verdict
from runner.compare.names import Names, names
from runner.render import units
from runner.render.page import Block, Listing, Page, Table, Title, drop_empty_columns
from runner.render.units import NONE, Scale

SHOWN_FLIPS = 10
DETECTABLE = "detectable: what would be found in 80 % of such measurements."


def comparison_page(comparison: Comparison) -> Page:
    """Return a comparison as a page."""
    found, called = comparison.artifacts, names(interleaved=comparison.interleaved)
    reasons = dict.fromkeys(reason.line for it in found for reason in (*it.withheld, *it.unsettled))
    notes = {text: n for n, text in enumerate(reasons, start=1)}
    marked = [_marked(artifact, notes) for artifact in found]
    blocks: list[Block | None] = [
        Title(
            text=f"{comparison.bundle_name} for {comparison.target}: the {called.device} beside the {called.host}"
            f"{', processes in turn' if comparison.interleaved else ''}"
        ),
        Table(
            columns=("", "measured on", "with", "when", "status"),
            rows=(_side_cells(called.host, comparison.host), _side_cells(called.device, comparison.device)),
            left=5,
        ),
        _figures(found, marked),
        _accuracies(found, marked),
        _latencies(found, marked, called),
        _costs(found, marked),
        _legend(comparison),
        _listing("Flips", [line for artifact in found for line in flip_lines(artifact, called)]),
        _listing("Notes", [*(f"[{n}] {text}" for text, n in notes.items()), *_notes(comparison)]),
        _verdicts(comparison.verdicts),
        _listing("Undecided", _undecided(comparison.verdicts)),
        _outcome(comparison),
    ]
    return tuple(block for block in blocks if block)


def _side_cells(place: str, side: Side) -> tuple[str, ...]:
    name = f"{side.name}, {side.machine}, {side.cpus} CPU{'s' if side.cpus > 1 else ''}"
    streams = f", {side.streams} streams" if side.streams > 1 else ""
    settings = f"{side.threads} thread{'s' if side.threads > 1 else ''}, batch {side.batch}{streams}, {side.effort}"
    return place, name, settings, side.created, side.status


def _marked(artifact: ArtifactComparison, notes: dict[str, int]) -> str:
    marks = ", ".join(str(notes[reason.line]) for reason in (*artifact.withheld, *artifact.unsettled))
    return f"{artifact.name} [{marks}]" if marks else artifact.name


def _deltas(artifacts: Sequence[ArtifactComparison], metric: str) -> list[Delta]:
    return [artifact.delta(metric) for artifact in artifacts]


def _both(deltas: Sequence[Delta]) -> list[float | None]:
    return [value for delta in deltas for value in (delta.host, delta.device)]


def _figures(artifacts: Sequence[ArtifactComparison], names: Sequence[str]) -> Table | None:
    sizes = units.size_scale(_both(_deltas(artifacts, "size")))
    rows = tuple(
        (
            name,
            sizes.show(it.delta("size").device) if it.same_file else _scaled(it.delta("size"), sizes),
            _from_to(units.percent(it.delta("top1").host), units.percent(it.delta("top1").device)),
            _from_to(units.percent(it.delta("top5").host), units.percent(it.delta("top5").device)),
            _from_to(units.number(it.delta("loss").host, 4), units.number(it.delta("loss").device, 4)),
            units.percent(it.answers.agreement) if it.answers else NONE,
            str(len(it.answers.flips)) if it.answers else NONE,
        )
        for name, it in zip(names, artifacts, strict=True)
    )
    columns = ("artifact", "size", "top-1", "top-5", "loss", "same answers", "flips")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE) if rows else None


def _accuracies(artifacts: Sequence[ArtifactComparison], names: Sequence[str]) -> Table | None:
    rows = tuple(
        (
            name,
            units.points(-it.answers.accuracy_drop),
            f"{units.points(it.answers.interval.low)} to {units.points(it.answers.interval.high)}",
            str(it.answers.right_to_wrong),
            str(it.answers.wrong_to_right),
            f"{it.answers.p_value:.2g}{', differs' if it.answers.differs else ''}",
            *_distance_cells(it.answers.distance),
            it.answers.word,
        )
        for name, it in zip(names, artifacts, strict=True)
        if it.answers
    )
    columns = ("artifact", "points", "interval", "lost", "won", "p", "max-abs", "cosine", "KL", "verdict")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE) if rows else None


def _distance_cells(distance: Distance | None) -> tuple[str, str, str]:
    if distance is None:
        return NONE, NONE, NONE
    cosine = NONE if distance.least_cosine is None else f"{distance.least_cosine:.4f}"
    return f"{distance.max_abs:.2g}", cosine, NONE if distance.kl_nats is None else f"{distance.kl_nats:.1g}"


def _latencies(artifacts: Sequence[ArtifactComparison], names: Sequence[str], called: Names) -> Table | None:
    deltas = _deltas(artifacts, "latency")
    times = units.time_scale(_both(deltas), resolution=0.002)
    rows = tuple(
        (
            name,
            times.show(delta.host),
            times.show(delta.device),
            units.times(delta.ratio),
            NONE if delta.interval is None else f"{units.times(delta.interval.low)}–{units.times(delta.interval.high)}",  # noqa: RUF001 - a range is written with an en dash
            artifact.word or NONE,
            units.signed_percent(artifact.latency.smallest_effect) if artifact.latency else NONE,
            _more(artifact),
        )
        for name, artifact, delta in zip(names, artifacts, deltas, strict=True)
    )
    columns = (
        "artifact",
        f"latency, {called.host}",
        called.device,
        "ratio",
        "interval",
        "verdict",
        "detectable",
        "to settle it",
    )
    table = drop_empty_columns(Table(columns=columns, rows=rows), NONE)
    return table if len(table.columns) > 1 else None


def _more(artifact: ArtifactComparison) -> str:
    verdict = artifact.latency
    if verdict is None or verdict.processes_needed is None:
        return NONE
    return f"--effort {verdict.effort}" if verdict.effort else f"{verdict.processes_needed} processes"


def _costs(artifacts: Sequence[ArtifactComparison], names: Sequence[str]) -> Table | None:
    found = {metric: _deltas(artifacts, metric) for metric in ("accelerator", "load", "first", "peak")}
    scales = [
        (units.size_scale if metric == "peak" else units.time_scale)(_both(deltas)) for metric, deltas in found.items()
    ]
    rows = tuple(
        (name, *(_scaled(delta, scale) for delta, scale in zip(deltas, scales, strict=True)))
        for name, *deltas in zip(names, *found.values(), strict=True)
    )
    columns = ("artifact", "accelerator", "load", "first", "peak memory")
    table = drop_empty_columns(Table(columns=columns, rows=rows), NONE)
    return table if len(table.columns) > 1 else None


def _scaled(delta: Delta, scale: Scale) -> str:
    return _from_to(scale.number(delta.host), scale.show(delta.device))


def _from_to(host: str, device: str) -> str:
    return NONE if host == device == NONE else f"{host} → {device}"


def _legend(comparison: Comparison) -> str:
    called = names(interleaved=comparison.interleaved)
    answers = (
        f"points: top-1 of the {called.device} less the {called.host}'s, each end of the interval a bound of 95 %; "
        "lost, won: samples right on one side alone, p by McNemar's exact test; max-abs, least cosine, mean KL: "
        f"between the logits; non-inferior: the whole interval is above {units.points(-comparison.margins.accuracy)}. "
    )
    said = answers if any(artifact.answers for artifact in comparison.artifacts) else ""
    if comparison.interleaved:
        kind = (
            "Processes of the two took turns, so that what disturbed the machine disturbed both: a change of latency "
            f"counts where its whole interval is beyond the margin of {100 * comparison.margins.latency:.2g} %. "
            f"{DETECTABLE}"
        )
    elif comparison.margin is None:
        kind = "Different devices: latency is expected to differ, and no difference is called better or worse."
    else:
        margin = f"{100 * comparison.margin:.2g} %"
        kind = (
            f"Devices of one kind: a change of latency counts where its whole interval is beyond {margin}, "
            f"{_margin_source(comparison)}. {DETECTABLE}"
        )
    return f"{said}ratio: {called.device} to {called.host}, with its interval of 99 % or more. {kind}"


def _margin_source(comparison: Comparison) -> str:
    # Where the two took turns no floor counts, however high it is.
    if comparison.margin == comparison.margins.latency:
        return "the margin"
    side = max((comparison.host, comparison.device), key=lambda it: it.noise_floor)
    return "the noise floor measured there" if side.floor_measured else "the noise floor that such machines may have"


def flip_lines(artifact: ArtifactComparison, called: Names) -> Iterator[str]:
    """Yield a line for each sample that one file answers otherwise on the two sides."""
    # Two files may well answer differently; one file should not, and where it does each sample tells.
    flips = artifact.answers.flips if artifact.answers and artifact.same_file else ()
    for flip in flips[:SHOWN_FLIPS]:
        yield f"{artifact.name}: sample {flip.sample}, label {flip.label}: {_flip(flip, called)}"
    if len(flips) > SHOWN_FLIPS:
        yield f"{artifact.name}: and {len(flips) - SHOWN_FLIPS} more, all in the output of --json"


def _flip(flip: AnswerFlip, called: Names) -> str:
    here, there = called.at("host"), called.at("device")
    if flip.host_margin is None or flip.device_margin is None:
        return f"{flip.host} {here}, {flip.device} {there}"
    return f"{flip.host} {here} by {flip.host_margin:.3g}, {flip.device} {there} by {flip.device_margin:.3g}"


def _notes(comparison: Comparison) -> Iterator[str]:
    called = names(interleaved=comparison.interleaved)
    gaps = [
        (f"{gap.name}: not run {called.preposition} the", called.of(gap.side), reason.line)
        for gap in comparison.missing
        for reason in gap.reasons
    ]
    yield from _once_for_both(gaps)
    yield from (reason.line for reason in comparison.notes)
    sides = ((called.host, comparison.host), (called.device, comparison.device))
    yield from _once_for_both([("", name, reason.line) for name, side in sides for reason in side.reasons])


def _once_for_both(notes: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    """Yield each note with its side, and one that is the same for both with both."""
    sides: dict[tuple[str, str], list[str]] = {}
    for before, side, text in notes:
        sides.setdefault((before, text), []).append(side)
    for (before, text), found in sides.items():
        yield f"{before} {' and '.join(found)}: {text}".strip()


def _verdicts(verdicts: Sequence[Verdict]) -> Table | None:
    rows = tuple((it.judgement, it.artifact, *limit_cells(it)) for it in verdicts)
    columns = ("verdict", "artifact", "limit", "found")
    return Table(columns=columns, rows=rows, left=len(columns)) if rows else None


def limit_cells(verdict: Verdict) -> tuple[str, str]:
    """Return what was allowed and what was found."""
    """Return what is allowed and what was found; an accuracy drop is told as the change of top-1 that it is."""
    observed, interval = verdict.observed, verdict.interval
    if verdict.limit == "max_accuracy_drop":
        allowed = f"top-1 at most {units.points(-verdict.allowed)} points"
        if observed is None or interval is None:
            return allowed, NONE
        return allowed, f"{units.points(-observed)}, {_span(units.points, -interval.high, -interval.low)}"
    if verdict.limit == "max_slowdown":
        return f"latency at most {units.signed_percent(verdict.allowed)}", _found(verdict, units.signed_percent)
    allowed = units.time_scale([verdict.allowed], resolution=0.002).show(verdict.allowed)
    return f"latency at most {allowed}", _found(verdict, units.time_scale([observed], resolution=0.002).show)


def _found(verdict: Verdict, show: Callable[[float | None], str]) -> str:
    if verdict.interval is None:
        return NONE
    return f"{show(verdict.observed)}, {_span(show, verdict.interval.low, verdict.interval.high)}"


def _span(show: Callable[[float], str], low: float, high: float) -> str:
    return f"interval {show(low)} to {show(high)}"


def _undecided(verdicts: Sequence[Verdict]) -> list[str]:
    # Both limits of an artifact that was not run are undecided for one reason, which is told once.
    return list(dict.fromkeys(f"{it.artifact}: {it.detail}" for it in verdicts if it.judgement == "undecided"))


def _listing(head: str, lines: Sequence[str]) -> Listing | None:
    return Listing(head=head, lines=tuple(lines)) if lines else None


def _outcome(comparison: Comparison) -> str:
    if not comparison.verdicts:
        return "No limit was stated."
    judgements = [verdict.judgement for verdict in comparison.verdicts]
    counted = ", ".join(
        f"{judgements.count(word)} {word}" for word in ("held", "violated", "undecided") if word in judgements
    )
    # Where something is undecided nothing has been passed, though no limit is known to be missed.
    word = "Missed" if comparison.violated else "Undecided" if "undecided" in judgements else "Passed"
    strict = " With --strict this would be exit code 1." if word == "Undecided" else ""
    return f"{word}: {counted}.{strict}"
