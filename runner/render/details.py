"""What stands below a report's figures: times and memory, answers, how the processes went, energy, expectations."""

from collections.abc import Iterator, Sequence

from runner import stats
from runner.process import Process
from runner.render import units
from runner.render.gpu import gpu_blocks
from runner.render.page import Block, Listing, Table, drop_empty_columns
from runner.render.units import NONE
from runner.report import Accuracy, ArtifactReport, Latency, Report
from runner.stats.proportions import clopper_pearson

LEAST_P99 = 299
CONFIDENCE = 0.95
"""Of the interval of top-1."""


def detail_blocks(report: Report) -> Iterator[Block]:
    """Yield a table of each kind of detail that is known of the artifacts that ran."""
    ran = [artifact for artifact in report.artifacts if artifact.runtime]
    for table in (_times(ran), _answers(ran), _memory(ran), _processes(ran)):
        if table.rows and len(table.columns) > 1:
            yield table
    yield from _words(ran)
    yield from gpu_blocks(report)
    yield from _energy(ran)
    yield from _expectations(ran)


def _times(ran: Sequence[ArtifactReport]) -> Table:
    timed = [artifact.latency for artifact in ran if artifact.latency]
    tails = units.time_scale([each for it in timed for each in (it.p95_ns, it.p99_ns)], resolution=0.002)
    devices, imports, loads, firsts = (
        units.time_scale(values)
        for values in (
            [it.device_ns for it in timed],
            [_import_ns(it) for it in timed],
            [it.load_ns for it in timed],
            [it.first_ns for it in timed],
        )
    )
    rows = tuple(
        (
            artifact.name,
            tails.show(latency.p95_ns),
            tails.show(latency.p99_ns),
            devices.show(latency.device_ns),
            units.rate(latency.throughput_per_s),
            imports.show(_import_ns(latency)),
            loads.show(latency.load_ns),
            firsts.show(latency.first_ns),
        )
        for artifact in ran
        if (latency := artifact.latency)
    )
    columns = ("artifact", "p95", "p99", "accelerator", "throughput", "import", "load", "first")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE)


def _import_ns(latency: Latency) -> float:
    return stats.median([process.import_ns for process in latency.processes])


def _answers(ran: Sequence[ArtifactReport]) -> Table:
    rows = tuple((artifact.name, *_answer_cells(artifact.accuracy)) for artifact in ran)
    columns = ("artifact", "right", "top-1, interval", "loss", "SNR", "as on host")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE)


def _answer_cells(accuracy: Accuracy | None) -> tuple[str, ...]:
    if accuracy is None:
        return NONE, NONE, NONE, NONE, NONE
    right = round(accuracy.top1 * accuracy.samples)
    exact = clopper_pearson(right, accuracy.samples, CONFIDENCE)
    return (
        f"{right:,} of {accuracy.samples:,}",
        f"{100 * exact.low:.2f}–{100 * exact.high:.2f} %",  # noqa: RUF001 - a range is written with an en dash
        units.number(accuracy.loss, 4),
        NONE if accuracy.snr_db is None else f"{accuracy.snr_db:.1f} dB",
        _as_on_host(accuracy),
    )


def _as_on_host(accuracy: Accuracy) -> str:
    flips = f"{len(accuracy.flips)} flip{'' if len(accuracy.flips) == 1 else 's'}"
    return "identical" if accuracy.identical_to_host else flips


def _memory(ran: Sequence[ArtifactReport]) -> Table:
    peaks = [_peaks(artifact) for artifact in ran]
    scale = units.size_scale([peak for each in peaks for peak in each])
    rows = tuple(
        (artifact.name, *map(scale.number, phases), scale.show(whole))
        for artifact, (*phases, whole) in zip(ran, peaks, strict=True)
    )
    columns = ("artifact", "memory: import", "load", "run", "peak memory")
    return drop_empty_columns(Table(columns=columns, rows=rows), NONE)


def _peaks(artifact: ArtifactReport) -> tuple[float | None, ...]:
    """Return the most memory while the runtime was imported, the artifact loaded and run, and at any time."""
    processes = artifact.latency.processes if artifact.latency else ()
    phases = (
        _median([process.import_peak_bytes for process in processes]),
        _median([process.load_peak_bytes for process in processes]),
        _median([process.run_peak_bytes for process in processes]),
    )
    return *phases, artifact.peak_bytes


def _median(values: Sequence[int | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stats.median(known) if known else None


def _processes(ran: Sequence[ArtifactReport]) -> Table:
    rows = tuple((artifact.name, runtime_line(artifact), *_process_cells(artifact.latency)) for artifact in ran)
    columns = ("artifact", "runtime", "processes", "drifted", "lag-1", "effective n", "calls each")
    return drop_empty_columns(Table(columns=columns, rows=rows, left=2), NONE)


def _process_cells(latency: Latency | None) -> tuple[str, ...]:
    if latency is None:
        return NONE, NONE, NONE, NONE, NONE
    count, found = len(latency.processes), latency.steadiness
    ended = f"{count}, {latency.stopped}" if latency.stopped else str(count)
    steadiness = (
        (f"{found.not_steady} of {count}", units.signed(found.lag1), f"{found.effective_n:,.0f}")
        if found
        else (NONE, NONE, NONE)
    )
    calls = max(process.calls_per_sample for process in latency.processes)
    return ended, *steadiness, str(calls) if calls > 1 else NONE


def runtime_line(artifact: ArtifactReport) -> str:
    """Return what executed an artifact, in a few words."""
    runtime = artifact.runtime
    if runtime is None:
        return NONE
    package = {"onnx": "onnxruntime", "torchscript": "torch", "aotinductor": "torch"}[runtime.name]
    provider = runtime.provider.replace("ExecutionProvider", "").removeprefix("torch ")
    return f"{package} {runtime.version}, {provider}"


def _words(ran: Sequence[ArtifactReport]) -> Iterator[str]:
    """Say what the columns mean that there are."""
    timed = [artifact.latency for artifact in ran if artifact.latency]
    processes = [process for latency in timed for process in latency.processes]
    words = []
    if timed:
        count = _span([len(latency.processes) for latency in timed])
        words.append(f"import, load, first inference: medians of {count} process{'' if count == '1' else 'es'}.")
    if any(artifact.accuracy for artifact in ran):
        words.append(f"top-1's interval: {100 * CONFIDENCE:g} %, exact (Clopper-Pearson).")
    if any(latency.stopped for latency in timed):
        words.append("processes: how many, and what ended them.")
    if any(latency.steadiness for latency in timed):
        words.append(
            "drifted: those whose latency moved while it was timed; lag-1: how like its predecessor a sample is; "
            f"effective n: what the {_samples(processes)} samples of a process are worth if they were independent."
        )
    if any(process.calls_per_sample > 1 for process in processes):
        words.append("calls each: timed together, for one is too short for the clock.")
    if any(_lacks_p99(latency) for latency in timed):
        words.append(f"p99 needs {LEAST_P99} samples in each process.")
    if words:
        yield " ".join(words)


def _lacks_p99(latency: Latency) -> bool:
    """Say whether more samples would give a p99: schema 1.1 had none, and nothing is known of calls timed together."""
    alone = all(process.calls_per_sample == 1 for process in latency.processes)
    return latency.p99_ns is None and latency.threads is not None and alone


def _samples(processes: Sequence[Process]) -> str:
    return _span([len(process.samples_ns) for process in processes])


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def _energy(ran: Sequence[ArtifactReport]) -> Iterator[Block]:
    """Yield what each meter says of one inference, and what it sees."""
    uses = {(artifact.name, use.meter): use for artifact in ran for use in artifact.energy}
    meters = {use.meter: use.scope for use in uses.values()}
    if not meters:
        return
    found = {key: each * 1e9 for key, use in uses.items() if (each := use.joules_per_inference) is not None}
    scale = units.energy_scale(list(found.values()))
    names = dict.fromkeys(name for name, _ in uses)
    rows = tuple((name, *(scale.show(found.get((name, meter))) for meter in meters)) for name in names)
    if found:
        yield Table(columns=("energy of an inference", *meters), rows=rows)
    missing = dict.fromkeys(f"{use.meter}: {use.reason}" for use in uses.values() if use.reason)
    yield Listing(head="What the meters see", lines=(*(f"{name}: {scope}" for name, scope in meters.items()), *missing))


def _expectations(ran: Sequence[ArtifactReport]) -> Iterator[Block]:
    """Yield what was expected of the integer arithmetic, each once."""
    said: dict[str, list[str]] = {}
    for artifact in ran:
        expected = artifact.expected
        if expected is None or expected.kernel is None:
            continue
        text = expected.kernel
        if expected.least_speedup is not None and expected.most_speedup is not None:
            text += (
                f"; {expected.least_speedup:g} to {expected.most_speedup:g} times as fast as fp32 in the same runtime"
            )
            text += f" ({expected.evidence})"
        said.setdefault(text, []).append(artifact.name)
    if said:
        lines = tuple(f"{', '.join(names)}: {text}" for text, names in said.items())
        yield Listing(head="Expected of int8 here", lines=lines)
