"""What came of several boards, as one table: each artifact on each, the host's figures first."""

from collections.abc import Iterator, Sequence

from packager.explain import Divergence, divergence_page, sentence
from packager.remote.result import BoardResult
from runner.compare.comparison import ArtifactComparison
from runner.compare.names import APART
from runner.reason import Reason, worst
from runner.render import units
from runner.render.comparison import flip_lines, limit_cells
from runner.render.page import Block, Listing, Page, Table, Title, drop_empty_columns
from runner.render.units import NONE, Scale
from runner.report import ArtifactReport, Report

COLUMNS = ("board", "artifact", "latency", "x host", "top-1", "points", "flips", "logits", "status")
FAILED = "failed"
IDENTICAL = "none: every logit of every artifact that ran is the host's own"
UNTOLD = "its report does not say for which sample the logits differ most: pack the bundle again"
NOT_RUN = "not run"


def fleet_page(results: Sequence[BoardResult], host: Report | None, bundle: str) -> Page:
    """Return what came of several boards as a page; `host` is the bundle's own report, and `bundle` its name."""
    notes = _notes(results)
    times = units.time_scale([*_medians(host), *(each for it in results for each in _latencies(it))])
    rows = [
        *(_host_row(artifact, times) for artifact in (host.artifacts if host else ())),
        *(row for result in results for row in _rows(result, notes, times)),
    ]
    boards = units.counted(len(results), "board")
    blocks: list[Block | None] = [
        Title(text=f"{bundle} on {boards}"),
        drop_empty_columns(Table(columns=COLUMNS, rows=tuple(rows), left=2), NONE),
        _listing("Failed", [line for result in results for line in _failures(result)]),
        _listing("Flips", [line for result in results for line in _flips(result)]),
        _listing("First layer that diverges", [line for result in results for line in _diverging(result)]),
        _listing("Notes", [f"[{number}] {text}" for text, number in notes.items()]),
        _limits(results),
        *(block for result in results for found in result.divergences or () for block in _layers(result.name, found)),
    ]
    return tuple(block for block in blocks if block)


def _medians(report: Report | None) -> list[float | None]:
    artifacts = report.artifacts if report else ()
    return [artifact.latency.median_ns if artifact.latency else None for artifact in artifacts]


def _latencies(result: BoardResult) -> Iterator[float | None]:
    compared = _compared(result)
    for artifact in result.report.artifacts if result.report else ():
        yield _latency(artifact, compared.get(artifact.name))


def _latency(artifact: ArtifactReport, compared: ArtifactComparison | None) -> float | None:
    """Return the latency that is shown of a board: none where the comparison has withheld it."""
    found = compared.delta("latency") if compared else None
    if found:
        return found.device
    return artifact.latency.median_ns if artifact.latency else None


def _host_row(artifact: ArtifactReport, times: Scale) -> tuple[str, ...]:
    latency = times.show(artifact.latency.median_ns if artifact.latency else None)
    top1 = units.percent(artifact.accuracy.top1 if artifact.accuracy else None)
    return ("host", artifact.name, latency, NONE, top1, NONE, NONE, NONE, NONE)


def _rows(result: BoardResult, notes: dict[str, int], times: Scale) -> Iterator[tuple[str, ...]]:
    if result.report is None:
        yield (result.name, *([NONE] * (len(COLUMNS) - 2)), FAILED)
        return
    compared = _compared(result)
    for artifact in result.report.artifacts:
        found = compared.get(artifact.name)
        numbers = sorted({notes[reason.line] for reason in _reasons(artifact, found)})
        marks = f" [{', '.join(map(str, numbers))}]" if numbers else ""
        ran = artifact.accuracy or artifact.latency
        status = worst((*result.report.reasons, *artifact.reasons)) if ran else NOT_RUN
        yield (result.name, f"{artifact.name}{marks}", *_figures(artifact, found, times), status)


def _figures(artifact: ArtifactReport, compared: ArtifactComparison | None, times: Scale) -> tuple[str, ...]:
    latency = compared.delta("latency") if compared else None
    answers = compared.answers if compared else None
    accuracy = artifact.accuracy
    logits = NONE
    if accuracy:
        logits = "identical" if accuracy.identical_to_host else f"{accuracy.max_abs_difference:.2g} apart"
    return (
        times.show(_latency(artifact, compared)),
        units.times(latency.ratio if latency else None),
        units.percent(accuracy.top1 if accuracy else None),
        units.points(-answers.accuracy_drop) if answers else NONE,
        str(len(answers.flips)) if answers else NONE,
        logits,
    )


def _compared(result: BoardResult) -> dict[str, ArtifactComparison]:
    return {it.name: it for it in result.comparison.artifacts} if result.comparison else {}


def _notes(results: Sequence[BoardResult]) -> dict[str, int]:
    """Return every reason once, with its number."""
    found = dict[str, int]()
    for result in results:
        compared = _compared(result)
        for artifact in result.report.artifacts if result.report else ():
            for reason in _reasons(artifact, compared.get(artifact.name)):
                found.setdefault(reason.line, len(found) + 1)
    return found


def _reasons(artifact: ArtifactReport, compared: ArtifactComparison | None) -> tuple[Reason, ...]:
    """Return what is to be said of a row: why a claim is withheld, or why there are no figures."""
    if compared is None:
        return artifact.reasons
    return (*compared.withheld, *compared.unsettled, *(it for it in artifact.reasons if it.code.startswith("int8")))


def _failures(result: BoardResult) -> Iterator[str]:
    if result.failure:
        tried = f" ({result.attempts} attempts)" if result.attempts > 1 else ""
        yield f"{result.name}: {result.failure.what}{tried}"
        if result.failure.advice:
            yield f"{result.name}: try: {result.failure.advice}"


def _flips(result: BoardResult) -> Iterator[str]:
    for artifact in result.comparison.artifacts if result.comparison else ():
        for line in flip_lines(artifact, APART):
            yield f"{result.name}: {line}"


def _limits(results: Sequence[BoardResult]) -> Table | None:
    rows = tuple(
        (verdict.judgement, result.name, verdict.artifact, *limit_cells(verdict))
        for result in results
        if result.comparison
        for verdict in result.comparison.verdicts
    )
    columns = ("verdict", "board", "artifact", "limit", "found")
    return Table(columns=columns, rows=rows, left=len(columns)) if rows else None


def _diverging(result: BoardResult) -> Iterator[str]:
    if result.divergences is None:
        return
    for found in result.divergences:
        yield f"{result.name}: {sentence(found)}"
    if not result.divergences:
        yield f"{result.name}: {IDENTICAL if _is_identical(result) else UNTOLD}"


def _is_identical(result: BoardResult) -> bool:
    artifacts = result.report.artifacts if result.report else ()
    return all(it.accuracy.identical_to_host for it in artifacts if it.accuracy)


def _layers(board: str, found: Divergence) -> Iterator[Block]:
    for block in divergence_page(found):
        yield Title(text=f"{board}: {block.text}") if isinstance(block, Title) else block


def _listing(head: str, lines: Sequence[str]) -> Listing | None:
    return Listing(head=head, lines=tuple(lines)) if lines else None
